"""Candidates and the vocabulary chosen from them, against dictionaries and one-by-one greed.

(The vocabulary's tests are here, not in a test_vocabulary.py: pytest wants one module of that name, and tests/world has
it.)
"""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.intentions.candidates import Candidates, CandidateSettings, Source, join_words, mine_candidates
from intently.intentions.vocabulary import (
    Vocabulary,
    VocabularySettings,
    coverage,
    merge_equal,
    select_vocabulary,
)
from intently.text.analyze import STOP_WORDS, UNITS, Analyzer

ANALYZER = Analyzer()
Found = dict[str, tuple[int, set[int], set[int]]]


def stems(text: str) -> tuple[str, ...]:
    return tuple(stem for _, stem in ANALYZER.phrase(text))


def mine(titles, keywords=(), queries=(), clicks=(), taught=(), **chosen) -> Candidates:
    return mine_candidates(
        titles,
        keywords or [()] * len(titles),
        list(queries),
        np.array(list(clicks), dtype=np.int64).reshape(-1, 2),
        ANALYZER,
        CandidateSettings(**chosen),
        taught,
    )


def as_dict(candidates: Candidates) -> Found:
    """Return text → (number of words, ad rows, query rows)."""
    found: Found = {
        text: (int(num), set(), set()) for text, num in zip(candidates.texts, candidates.num_words, strict=True)
    }
    assert len(found) == len(candidates.texts)
    for at, pairs in ((1, candidates.ad_pairs), (2, candidates.query_pairs)):
        assert len(np.unique(pairs, axis=0)) == len(pairs)
        for row, document in pairs.tolist():
            found[candidates.texts[row]][at].add(document)
    return found


def test_a_small_catalogue_by_hand():
    titles = [
        "Cordless drill bits",
        "Drill bits for wood",
        "Drill Bit, 5 gal.",
        "红色 水壶",
        "红色 水壶 5 gal",
        "Saw",
    ]
    keywords = [("wood drill", "bits"), (), (), ("kettle",), ("水壶",), ("saw", "")]
    queries = ["drilling wood", "vacuum", "saw blade", "红色水壶", "5", "drill bits", "blade", "blades"]
    clicks = [(0, 2), (3, 5), (1, 0), (4, 0), (5, 0)]
    expected: Found = {
        # In the titles of two ads, in the catalog's most frequent form ("bits", not "bit").
        "drill": (1, {0, 1, 2}, {0, 5}),
        "bits": (1, {0, 1, 2}, {5}),
        "红色": (1, {3, 4}, {3}),
        "水壶": (1, {3, 4}, {3}),
        "5": (1, {0, 2, 4}, {4}),
        "5 gal": (2, {2, 4}, set()),  # "gal" alone is a unit
        "drill bits": (2, {0, 1, 2}, {5}),
        "红色水壶": (2, {3, 4, 5}, {3}),  # clicked for ad 5 as well
        # Clicked, or bid on; every word is known to a title, or to three queries.
        "drill wood": (2, {2}, {0}),
        "wood drill": (2, {0}, set()),
        "saw": (1, {5}, set()),
        "saw blade": (2, set(), {2}),
        "blade": (1, set(), {6, 7}),
    }
    assert as_dict(mine(titles, keywords, queries, clicks)) == expected


def test_phrases_do_not_cross_titles():
    assert set(as_dict(mine(["red", "pan", "red", "pan"]))) == {"red", "pan"}


def test_what_reaches_too_many_ads_is_left_out_and_titles_stand_in():
    titles = ["red pan", "red lamp", "red shoe", "blue pan"]
    assert set(as_dict(mine(titles, max_ad_floor=2, max_ad_share=0.0))) == {"pan", "red lamp", "red shoe"}
    assert set(as_dict(mine(titles, max_ad_floor=0, max_ad_share=0.75))) == {"pan", "red"}
    assert set(as_dict(mine(titles, max_ad_floor=0, max_ad_share=0.74))) == {"pan", "red lamp", "red shoe"}


def test_an_ad_of_words_of_its_own_is_known_by_its_title():
    found = as_dict(mine(["Electric kettle", "one two three four five six seven eight"]))
    assert found == {"electric kettle": (2, {0}, set()), "one two three four five six": (6, {1}, set())}


def test_a_title_of_stop_words_is_an_intention_only_as_a_whole():
    assert as_dict(mine(["The The", "的"])) == {"the the": (2, {0}, set()), "的": (1, {1}, set())}


def test_identity_keeps_all_words():
    titles = ["AT&T phone", "IT support", "iPhone X case", "The Who shirt", "vitamin a cream", "3M tape", "H&M shirt"]
    bids = ["AT&T", "IT support", "iPhone X", "the who", "vitamin a", "3M", "H&M"]
    found = as_dict(mine(titles, [(bid,) for bid in bids]))
    for ad_row, text in enumerate(["at&t", "it support", "iphone x", "the who", "vitamin a", "3 m", "h&m"]):
        assert found[text][1] == {ad_row}, text


def test_a_phrase_of_a_title_neither_begins_nor_ends_with_a_stop_word():
    titles = ["the drill for wood", "the drill for wood and"]
    assert set(as_dict(mine(titles))) == {"drill", "wood", "drill for wood"}


@pytest.mark.parametrize("titles", [[], [""], ["!!!"]])
def test_nothing_to_find(titles):
    candidates = mine(titles)
    assert candidates.texts == ()
    assert candidates.ad_pairs.shape == candidates.query_pairs.shape == (0, 2)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["red", "pan"], "red pan"),
        (["红色", "水壶"], "红色水壶"),
        (["led", "灯"], "led 灯"),
        (["灯", "12", "v"], "灯 12 v"),
        ([], ""),
    ],
)
def test_join_words(words, text):
    assert join_words(words) == text


@pytest.mark.parametrize("queries", [(), ("扫地机器人",)])
def test_chinese_intentions_are_written_as_in_the_titles(queries):
    titles = ["红色扫地机器人", "蓝色扫地机器人", "大容量电热水壶", "不锈钢电热水壶"]
    for text, (_, ads, _) in as_dict(mine(titles, queries=queries)).items():
        assert any(text in titles[row] for row in ads), text


def test_a_number_may_be_all_that_ads_share():
    assert as_dict(mine(["shoe 2024", "lamp 2024", "2024 hat"])) == {"2024": (1, {0, 1, 2}, set())}


def test_a_word_of_many_titles_says_something_one_of_most_does_not():
    titles = [f"{('steel' if row % 3 else 'white')} item {row}" for row in range(90)]
    found = as_dict(mine(titles))
    assert {text: len(ads) for text, (_, ads, _) in found.items() if len(ads) > 25} == {"white": 30, "white item": 30}


def taught_of(candidates) -> dict[tuple[str, int], float]:
    """Return (text, ad row) → probability of what a language model said; of candidates or a vocabulary."""
    assert len(np.unique(candidates.taught_pairs, axis=0)) == len(candidates.taught_pairs)
    return {
        (candidates.texts[row], ad): math.exp(log_prob)
        for (row, ad), log_prob in zip(
            candidates.taught_pairs.tolist(), candidates.taught_log_probs.tolist(), strict=True
        )
    }


def sources_of(candidates) -> dict[str, Source]:
    return {text: Source(int(of)) for text, of in zip(candidates.texts, candidates.sources, strict=True)}


TITLES = ["Red pan", "Red lamp", "红色 水壶", "红色 灯"]
TAUGHT = [
    # Two ways to say the same, a phrase of two titles' words, one with a word that no title has, and nothing.
    [("lamp red", math.log(0.5)), ("Lamps, RED", math.log(0.25)), ("red robot", -1.0), ("", -0.1), ("the", -0.1)],
    [("red lamp", math.log(0.125)), ("red", -2.0)],
    [("水壶", math.log(0.5)), ("红色水壶", math.log(0.5))],
    [],
]


def test_what_a_language_model_says_is_a_candidate_if_its_words_are_known():
    candidates = mine(TITLES, taught=TAUGHT)
    assert taught_of(candidates) == pytest.approx(
        {
            ("lamp red", 0): 0.75,  # stems in the same order; ways to say it add up
            ("red lamp", 1): 0.125,
            ("red", 1): math.exp(-2),
            ("水壶", 2): 0.5,
            ("红色水壶", 2): 0.5,
        }
    )
    found = as_dict(candidates)
    assert found["lamp red"] == (2, set(), set())  # nobody gave it to the ad: it is only taught
    assert found["red"] == (1, {0, 1}, set())
    assert "red robot" not in found


def test_sources():
    candidates = mine(
        [*TITLES, "Unique saw"],
        keywords=[("red pan",), (), (), (), ()],
        queries=["水壶", "lamp pan"],
        clicks=[(0, 2), (1, 1)],
        taught=[*TAUGHT, []],
    )
    assert sources_of(candidates) == {
        "red": Source.TITLE | Source.TEACHER,
        "红色": Source.TITLE,
        "水壶": Source.QUERY | Source.TEACHER,
        "lamp pan": Source.QUERY,
        "red pan": Source.KEYWORD,
        "lamp red": Source.TEACHER,
        "red lamp": Source.TEACHER,
        "红色水壶": Source.TEACHER,
        "unique saw": Source.TITLE,  # the whole title of an ad that has nothing else
    }


def test_what_is_taught_of_too_many_ads_is_left_out():
    titles = [f"red {number} item" for number in ("one", "two", "three")] + ["pan four", "pan five"]
    taught = [[("pan", -1.0)]] * 3 + [[], []]
    assert ("pan", 0) in taught_of(mine(titles, taught=taught, max_ad_floor=5))
    narrow = mine(titles, taught=taught, max_ad_floor=4)
    assert taught_of(narrow) == {}  # two titles and three ads that were taught it
    assert set(as_dict(narrow)) == {"red", "item", "pan four", "pan five"}


@pytest.mark.parametrize("taught", [(), [[]] * 4])
def test_nothing_is_taught(taught):
    candidates = mine(TITLES, taught=taught)
    assert (candidates.taught_pairs.shape, candidates.taught_log_probs.shape) == ((0, 2), (0,))
    assert set(sources_of(candidates).values()) == {Source.TITLE}


WORDS = ["red", "pan", "lamp", "5", "7", "gal", "for", "灯", "红色", "水壶"]
texts = st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join)
asked = st.lists(st.sampled_from([*WORDS, "new", "vac"]), max_size=4).map(" ".join)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(texts, st.lists(asked, max_size=2)), min_size=1, max_size=8),
    st.lists(asked, max_size=5),
    st.sets(st.tuples(st.integers(0, 4), st.integers(0, 7)), max_size=6),
    st.builds(
        CandidateSettings,
        max_words=st.integers(1, 4),
        max_query_words=st.integers(1, 4),
        min_ads=st.integers(1, 3),
        max_ad_share=st.sampled_from([0.0, 0.5, 1.0]),
        max_ad_floor=st.integers(0, 4),
    ),
)
def test_equals_counting_in_a_dictionary(ads, queries, clicks, chosen):
    titles, num_ads = [title for title, _ in ads], len(ads)
    clicks = sorted((query, ad) for query, ad in clicks if query < len(queries) and ad < num_ads)
    documents = [stems(text) for text in (*titles, *queries)]
    grams: dict[tuple[str, ...], set[int]] = {}
    for row, terms in enumerate(documents):
        for length in range(1, chosen.max_words + 1):
            for start in range(len(terms) - length + 1):
                grams.setdefault(tuple(terms[start : start + length]), set()).add(row)
    found = {
        gram: rows
        for gram, rows in grams.items()
        if sum(row < num_ads for row in rows) >= chosen.min_ads
        and gram[0] not in UNITS
        and not {gram[0], gram[-1]} & STOP_WORDS
    }

    def whole(text: str) -> set[int] | None:
        terms = stems(text)
        vouched = [
            sum(3 if row < num_ads else 1 for row, d in enumerate(documents) if t in d) + 3 * (t in STOP_WORDS)
            for t in terms
        ]
        num_words = sum(term not in STOP_WORDS for term in terms)
        if not terms or max(num_words, len(terms) // 2) > chosen.max_query_words or min(vouched) < 3:
            return None
        return found.setdefault(terms, set())

    for query, text in enumerate(queries):
        if (rows := whole(text)) is not None:
            rows |= {num_ads + query} | {ad for other, ad in clicks if other == query}
    for ad, (_, keywords) in enumerate(ads):
        for keyword in keywords:
            if (rows := whole(keyword)) is not None:
                rows.add(ad)
    most = max(chosen.max_ad_share * num_ads, chosen.max_ad_floor)
    kept = {terms for terms, rows in found.items() if sum(row < num_ads for row in rows) <= most}
    left_out = set(range(num_ads)).difference(*(found[terms] for terms in kept))
    for ad in left_out:
        if terms := documents[ad][: chosen.max_query_words]:
            while len(terms) < len(documents[ad]) and terms[-1] in STOP_WORDS and not set(terms) <= STOP_WORDS:
                terms = terms[:-1]
            kept.add(terms)
            found.setdefault(terms, set()).add(ad)
    expected: Found = {}
    for terms, rows in found.items():
        of_ads = {row for row in rows if row < num_ads}
        if terms in kept:
            expected[join_words(terms)] = (len(terms), of_ads, {row - num_ads for row in rows - of_ads})
    keywords = [bids for _, bids in ads]
    assert as_dict(mine(titles, keywords, queries, clicks, **vars(chosen))) == expected


NUM_ADS, NUM_QUERIES, NUM_CANDIDATES = 6, 3, 10


def pairs_strategy(num_documents: int) -> st.SearchStrategy[np.ndarray]:
    pair = st.tuples(st.integers(0, NUM_CANDIDATES - 1), st.integers(0, num_documents - 1))
    return st.sets(pair, max_size=20).map(lambda pairs: np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2))


candidates_strategy = st.builds(
    Candidates,
    texts=st.just(tuple(f"phrase {number}" for number in range(NUM_CANDIDATES))),
    num_words=st.lists(st.integers(1, 3), min_size=NUM_CANDIDATES, max_size=NUM_CANDIDATES).map(np.array),
    ad_pairs=pairs_strategy(NUM_ADS),
    query_pairs=pairs_strategy(NUM_QUERIES),
    taught_pairs=pairs_strategy(NUM_ADS),
    taught_log_probs=st.just(np.empty(0)),
    sources=st.lists(st.integers(1, 15), min_size=NUM_CANDIDATES, max_size=NUM_CANDIDATES).map(np.array),
).map(lambda one: replace(one, taught_log_probs=-np.arange(len(one.taught_pairs)) / 4))


@settings(max_examples=200, deadline=None)
@given(candidates_strategy, st.integers(0, 12), st.sampled_from([0.5, 1.0]))
def test_selection_equals_one_by_one_greed(candidates, budget, saturation):
    items = [
        sorted(
            {
                ("ad", ad)
                for pairs in (candidates.ad_pairs, candidates.taught_pairs)
                for row, ad in pairs.tolist()
                if row == candidate
            }
        )
        + [("query", query) for row, query in candidates.query_pairs.tolist() if row == candidate]
        for candidate in range(NUM_CANDIDATES)
    ]
    chosen: list[int] = []
    while len(chosen) < min(budget, NUM_CANDIDATES):
        covered = [item for candidate in chosen for item in items[candidate]]

        def gain(candidate, covered=covered):
            return sum((2.0 if kind == "query" else 1.0) * saturation ** covered.count((kind, row))
                       for kind, row in items[candidate])  # fmt: skip

        rest = [candidate for candidate in range(NUM_CANDIDATES) if candidate not in chosen]
        chosen.append(max(rest, key=lambda candidate: (gain(candidate), -candidate)))
    given_to = {ad: [row for row, other in candidates.ad_pairs.tolist() if other == ad] for ad in range(NUM_ADS)}
    reached = {ad for ad, own in given_to.items() if set(own) & set(chosen)}
    for ad, own in given_to.items():  # the floor: the longest candidate of an ad that has none, the first of them
        if own and ad not in reached:  # what was only taught is no floor: a model may be wrong
            chosen.append(min(own, key=lambda candidate: (-candidates.num_words[candidate], candidate)))
    ids = {old: new for new, old in enumerate(sorted(set(chosen)))}
    vocabulary = select_vocabulary(
        # So many rounds that each adds at most one.
        candidates, NUM_ADS, NUM_QUERIES, VocabularySettings(budget, saturation, 2.0, num_rounds=32)
    )  # fmt: skip
    assert vocabulary.texts == tuple(f"phrase {old}" for old in ids)
    for found, every in (
        (vocabulary.ad_pairs, candidates.ad_pairs),
        (vocabulary.query_pairs, candidates.query_pairs),
        (vocabulary.taught_pairs, candidates.taught_pairs),
    ):
        assert found.tolist() == [[ids[old], row] for old, row in every.tolist() if old in ids]
    taught = zip(candidates.taught_pairs.tolist(), candidates.taught_log_probs.tolist(), strict=True)
    assert vocabulary.taught_log_probs.tolist() == [log_prob for (old, _), log_prob in taught if old in ids]
    assert vocabulary.sources.tolist() == [candidates.sources[old] for old in ids]


@pytest.mark.parametrize("budget", [0, 1, 3])
def test_every_ad_keeps_an_intention_under_a_tiny_budget(budget):
    titles = ["red pan", "red pan", "blue lamp", "blue lamp", "红色 水壶", "红色 水壶", "unique"]
    candidates = mine(titles)
    vocabulary = select_vocabulary(candidates, len(titles), 0, VocabularySettings(max_intentions=budget))
    assert set(vocabulary.ad_pairs[:, 1]) == set(candidates.ad_pairs[:, 1]) == set(range(7))
    assert len(vocabulary) == 4  # one each: chosen or the floor
    if budget == 0:
        assert set(vocabulary.texts) == {"red pan", "blue lamp", "红色水壶", "unique"}  # the longest
    for intention_id, row in vocabulary.ad_pairs.tolist():
        assert set(ANALYZER.words(vocabulary.texts[intention_id])) <= set(ANALYZER.words(titles[row]))


@settings(deadline=None)
@given(candidates_strategy, st.integers(0, 12), st.integers(1, 5))
def test_rounds_keep_the_budget(candidates, budget, num_rounds):
    vocabulary = select_vocabulary(candidates, NUM_ADS, NUM_QUERIES, VocabularySettings(budget, num_rounds=num_rounds))
    assert set(vocabulary.ad_pairs[:, 1]) == set(candidates.ad_pairs[:, 1])
    least = min(budget, NUM_CANDIDATES)
    assert least <= len(vocabulary) <= min(least + NUM_ADS, NUM_CANDIDATES)


def test_coverage():
    nothing = np.empty((0, 2), dtype=np.int64)
    vocabulary = Vocabulary(
        ("a", "b", "c", "d"),
        np.array([[0, 0], [1, 0], [1, 2]]),
        np.array([[0, 1], [2, 1]]),
        np.array([[1, 0], [2, 3], [2, 0]]),  # the first is given, too
        np.log([0.5, 0.25, 0.125]),
        np.array([Source.TITLE, Source.TITLE | Source.TEACHER, Source.TEACHER, Source.QUERY]),
    )
    assert coverage(vocabulary, 5, 2) == {
        "num_intentions": 4,
        "share_of_ads": 3 / 5,
        "share_of_queries": 1 / 2,
        "intentions_per_ad": 1.0,
        "ads_per_intention": 5 / 4,
        "share_from_title": 0.5,
        "share_only_from_title": 0.25,
        "share_from_query": 0.25,
        "share_only_from_query": 0.25,
        "share_from_keyword": 0.0,
        "share_only_from_keyword": 0.0,
        "share_from_teacher": 0.5,
        "share_only_from_teacher": 0.25,
    }
    assert set(coverage(Vocabulary((), nothing, nothing), 0).values()) == {0}
    assert coverage(Vocabulary(("a",), np.array([[0, 0]]), nothing), 1)["share_from_title"] == 0  # not known


def test_equal_token_sequences_join_what_was_taught():
    vocabulary = Vocabulary(
        ("cafe", "pan", "café"),
        np.array([[0, 0], [2, 1]]),
        np.empty((0, 2), dtype=np.int64),
        np.array([[0, 0], [1, 0], [2, 0], [2, 1]]),
        np.log([0.5, 0.125, 0.25, 0.75]),
        np.array([Source.TITLE, Source.QUERY, Source.TEACHER]),
    )
    merged = merge_equal(vocabulary, [[5], [6], [5]])
    assert merged.texts == ("cafe", "pan")
    assert taught_of(merged) == pytest.approx({("cafe", 0): 0.75, ("cafe", 1): 0.75, ("pan", 0): 0.125})
    assert sources_of(merged) == {"cafe": Source.TITLE | Source.TEACHER, "pan": Source.QUERY}


def test_equal_token_sequences_become_one_intention():
    vocabulary = Vocabulary(
        ("cafe", "锅", "café", "pan", "CAFÉ"),
        np.array([[0, 1], [1, 0], [2, 1], [2, 2], [3, 3], [4, 0]]),
        np.array([[4, 0], [3, 0], [0, 0]]),
    )
    merged = merge_equal(vocabulary, [[5, 6], [7], [5, 6], [5], [5, 6]])
    assert merged.texts == ("cafe", "锅", "pan")
    assert merged.ad_pairs.tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [2, 3]]
    assert merged.query_pairs.tolist() == [[0, 0], [2, 0]]


def test_different_sequences_stay_apart():
    vocabulary = Vocabulary(("a", "b"), np.array([[0, 1], [1, 0]]), np.empty((0, 2), dtype=np.int64))
    merged = merge_equal(vocabulary, [[1], [1, 2]])
    assert merged.texts == vocabulary.texts
    assert merged.ad_pairs.tolist() == vocabulary.ad_pairs.tolist()
    assert merged.query_pairs.shape == (0, 2)


def test_words_that_the_tokenizer_does_not_know_are_left_out_and_never_merged(caplog):
    pairs = np.array([[0, 0], [1, 1], [2, 2], [3, 0]])
    vocabulary = Vocabulary(("爨具", "鑫具", "pan", "PAN"), pairs, np.array([[1, 0], [2, 1]]))
    merged = merge_equal(vocabulary, [[100, 5], [100, 5], [7], [7]], unknown_id=100)
    assert (merged.texts, merged.left_out) == (("pan",), ("爨具", "鑫具"))
    assert merged.ad_pairs.tolist() == [[0, 0], [0, 2]]
    assert merged.query_pairs.tolist() == [[0, 1]]
    assert "2 intentions are left out" in caplog.text
    assert merge_equal(vocabulary, [[100], [5], [7], [8]]).texts == vocabulary.texts
