from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intently.engine.fusion_features import Candidates, QueryFacts, feature_names, features, rising
from intently.engine.reciprocal_ranks import reciprocal_rank_fusion
from intently.errors import ArtifactError
from intently.index.lexical import LexicalIndex, LexicalSettings
from intently.index.title_terms import MAX_TITLE_TERMS, TitleTerms, term_codes
from intently.text.analyze import Analyzer
from intently.types import Channel

CHANNELS = (Channel.INTENTION, Channel.DENSE, Channel.LEXICAL)
ANALYZER = Analyzer()
TITLES = [
    "Tarrow 5 gal. White Exterior Paint",
    "White Paint Brush, 2 in.",
    "扫地机器人 智能 拖地 一体机",
    "",
    "Exterior door with white paint",
    " ".join(f"part{letter}" for letter in "abcdefghijklmnopqrstuvwxyz" * 2),
]
TERMS = TitleTerms.build(TITLES, ANALYZER)


def facts(query: str) -> QueryFacts:
    index = LexicalIndex.build(TITLES, LexicalSettings())
    text = index.reader.read(query)
    return QueryFacts.of(text, [index.known(text)], 2, index.statistics)


def found(best: dict[Channel, list[int]], scores: dict[Channel, list[float]]) -> Candidates:
    rows, fused = reciprocal_rank_fusion(
        [np.array(best[channel], dtype=np.int64) for channel in CHANNELS], [0.5, 1, 1], 10
    )
    arrays = {channel: np.array(scores[channel], dtype=np.float32) for channel in CHANNELS}
    ranked = {channel: np.array(best[channel], dtype=np.int64) for channel in CHANNELS}
    return Candidates.of(rows, fused, ranked, lambda channel, rows: arrays[channel][rows])


def told(query: str, rows: list[int]) -> dict[str, list[float]]:
    """Return the features, by name, of ads that the dense channel alone found."""
    best = {Channel.INTENTION: [], Channel.DENSE: rows, Channel.LEXICAL: []}
    candidates = found(best, {channel: [0.5] * len(TITLES) for channel in CHANNELS})
    table = features(candidates, facts(query), TERMS.of(candidates.rows))
    in_order = table[np.argsort([rows.index(row) for row in candidates.rows.tolist()])]
    return dict(zip(feature_names(CHANNELS), in_order.T.tolist(), strict=True))


def test_titles_keep_their_terms_in_order():
    first = TERMS.of(np.array([4, 3, 2]))
    assert first.shape == (3, MAX_TITLE_TERMS)
    for codes, title in zip(first, (TITLES[4], TITLES[3], TITLES[2]), strict=True):
        terms = ANALYZER.terms(title)
        assert codes.tolist() == [*term_codes(terms).tolist(), *[0] * (MAX_TITLE_TERMS - len(terms))]


def test_long_titles_are_cut():
    assert TERMS.of(np.array([5]))[0].tolist() == term_codes(ANALYZER.terms(TITLES[5])[:MAX_TITLE_TERMS]).tolist()


@given(st.lists(st.sampled_from(TITLES), max_size=6), st.lists(st.sampled_from(TITLES), max_size=4), st.data())
def test_changed_title_terms_equal_those_built_anew(titles, others, data):
    every = [*titles, *others]
    mask = data.draw(st.lists(st.booleans(), min_size=len(every), max_size=len(every)))
    joined = TitleTerms.build(titles, ANALYZER).concatenated(TitleTerms.build(others, ANALYZER))
    changed = joined.kept(np.array(mask, dtype=np.bool_))
    for got, wanted in ((joined, every), (changed, [title for title, keep in zip(every, mask, strict=True) if keep])):
        anew = TitleTerms.build(wanted, ANALYZER)
        assert got.num_ads == anew.num_ads == len(wanted)
        assert got.offsets.tolist() == anew.offsets.tolist()
        assert got.values.tolist() == anew.values.tolist()


def test_title_terms_come_back_from_disk(tmp_path):
    TERMS.save(tmp_path / "titles.npz")
    loaded = TitleTerms.load(tmp_path / "titles.npz")
    assert loaded.offsets.tolist() == TERMS.offsets.tolist()
    assert loaded.values.tolist() == TERMS.values.tolist()
    np.savez(tmp_path / "titles.npz", offsets=TERMS.offsets, codes=TERMS.values[1:])
    with pytest.raises(ArtifactError, match=r"titles\.npz.*do not fit"):
        TitleTerms.load(tmp_path / "titles.npz")


def test_candidates_have_every_score_and_their_ranks():
    best = {Channel.INTENTION: [4], Channel.DENSE: [0, 4, 2], Channel.LEXICAL: [1, 0]}
    scores = {channel: [place + row / 10 for row in range(6)] for place, channel in enumerate(CHANNELS)}
    candidates = found(best, scores)
    assert sorted(candidates.rows.tolist()) == [0, 1, 2, 4]
    for channel in CHANNELS:
        expected = [best[channel].index(row) + 1 if row in best[channel] else 0 for row in candidates.rows.tolist()]
        assert candidates.ranks[channel].tolist() == expected
        assert candidates.scores[channel].tolist() == pytest.approx([scores[channel][row] for row in candidates.rows])


def test_candidates_may_leave_out_some_of_the_best():
    best = {Channel.DENSE: np.array([5, 3, 1]), Channel.LEXICAL: np.array([7, 3])}
    candidates = Candidates.of(np.array([3, 7]), np.array([0.2, 0.1]), best, lambda channel, rows: np.zeros(len(rows)))
    assert {channel: ranks.tolist() for channel, ranks in candidates.ranks.items()} == {
        Channel.DENSE: [2, 0],
        Channel.LEXICAL: [2, 1],
    }


def test_what_the_paths_say():
    best = {Channel.INTENTION: [], Channel.DENSE: [1, 0], Channel.LEXICAL: [0]}
    scores = {Channel.INTENTION: [0] * 6, Channel.DENSE: [0.5, 0.9, 0, 0, 0, 0], Channel.LEXICAL: [8, 4, 0, 0, 0, 0]}
    candidates = found(best, scores)
    table = features(candidates, facts("white paint"), TERMS.of(candidates.rows))
    assert table.dtype == np.float32
    assert table.shape == (2, len(feature_names(CHANNELS)))
    assert candidates.rows.tolist() == [0, 1]
    columns = dict(zip(feature_names(CHANNELS), table.T.tolist(), strict=True))
    assert columns["intention score"] == [0, 0]
    assert columns["intention deviation"] == [0, 0]  # all alike
    assert columns["dense below best"] == pytest.approx([-0.4, 0])
    assert columns["dense deviation"] == pytest.approx([-1, 1])
    assert columns["dense reciprocal rank"] == pytest.approx([1 / 12, 1 / 11])
    assert columns["lexical score"] == [8, 4]
    assert columns["lexical reciprocal rank"] == pytest.approx([1 / 11, 0])
    assert columns["fused score"] == pytest.approx([1 / 12 + 1 / 11, 1 / 11])
    assert columns["number of channels"] == [2, 1]


def test_what_the_paths_say_can_only_speak_for_an_ad():
    up = dict(zip(feature_names(CHANNELS), rising(CHANNELS), strict=True))
    assert all(up[f"{path} {name}"] for path in CHANNELS for name in ("score", "reciprocal rank"))
    assert up["query in title"]
    assert not up["title terms"]
    assert not up["query terms"]


def test_how_titles_match():
    columns = told("white paint 5 gallon", [0, 1, 3, 4])
    assert columns["query terms"] == [4] * 4
    assert columns["query numbers"] == [1] * 4
    assert columns["literal intentions"] == [2] * 4
    assert columns["title terms"] == [6, 5, 0, 4]
    assert columns["query in title"][0] == pytest.approx(1)
    assert columns["query in title"][2] == 0
    assert 0 < columns["query in title"][1] < 1
    assert columns["title in query"] == pytest.approx([4 / 6, 2 / 5, 0, 2 / 4])
    assert columns["numbers in title"] == [1, 0, 0, 0]
    assert columns["last word in title"] == [1, 1, 0, 1]  # paint: 5 is a number, gallon a unit
    # white paint, paint 5, 5 gallon
    assert columns["pairs in title"] == pytest.approx([1 / 3, 1 / 3, 0, 1 / 3])
    assert columns["first match"] == pytest.approx([1 / 6, 0, 1, 2 / 4])


def test_chinese_titles_match():
    columns = told("智能扫地机器人", [2, 0])
    assert columns["query in title"] == pytest.approx([1, 0])
    assert columns["last word in title"] == [1, 0]


def test_a_query_without_known_terms_has_features():
    columns = told("zzzz qqqq", [0, 1])
    assert columns["query terms"] == [0, 0]
    assert columns["query terms corrected"] == [2, 2]
    assert columns["query in title"] == [0, 0]
    assert all(np.isfinite(values).all() for values in columns.values())


def test_corrected_terms_are_counted_and_matched():
    columns = told("exteriorr paint", [0, 1])
    assert columns["query terms corrected"] == [1, 1]
    assert columns["query in title"][0] == pytest.approx(1)


def test_nothing_found_is_a_table_without_rows():
    none = found({channel: [] for channel in CHANNELS}, {channel: [] for channel in CHANNELS})
    assert features(none, facts("paint"), TERMS.of(none.rows)).shape == (0, len(feature_names(CHANNELS)))


@given(
    st.lists(st.sampled_from(["white", "paint", "5", "gal", "door", "扫地", "brush"]), unique=True, min_size=1),
    st.lists(st.lists(st.sampled_from(["white", "paint", "5", "gal", "door", "扫地", "red"]), max_size=8), min_size=1),
)
def test_matching_equals_going_through_the_terms(terms, titles):
    idf = np.arange(1, len(terms) + 1, dtype=np.float64)
    rows = np.arange(len(titles))
    codes = TitleTerms.build([" ".join(title) for title in titles], _Split()).of(rows)
    candidates = Candidates(rows, np.zeros(len(rows)), {}, {})
    table = features(candidates, QueryFacts(tuple(terms), idf, 0, 0), codes)
    columns = dict(zip(feature_names(()), table.T.tolist(), strict=True))
    numbers = [term for term in terms if term == "5"]
    words = [term for term in terms if term not in ("5", "gal")]
    pairs = list(pairwise(terms))
    for row, title in enumerate(titles):
        shared = [term in terms for term in title]
        asked = sum(weight for term, weight in zip(terms, idf, strict=True) if term in title) / idf.sum()
        assert columns["query in title"][row] == pytest.approx(asked)
        assert columns["title in query"][row] == pytest.approx(sum(shared) / max(len(title), 1))
        assert columns["numbers in title"][row] == (float("5" in title) if numbers else 1)
        assert columns["last word in title"][row] == (float(words[-1] in title) if words else 1)
        beside = [pair in set(pairwise(title)) for pair in pairs]
        assert columns["pairs in title"][row] == pytest.approx(np.mean(beside) if pairs else 1)
        assert columns["first match"][row] == pytest.approx(shared.index(True) / len(title) if any(shared) else 1)


class _Split:
    def terms(self, text: str) -> list[str]:
        return text.split()
