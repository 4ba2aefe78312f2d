"""Pairs of several sources: who is a known answer, what is held out, and what is hidden from an ad."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intently.errors import InputError
from intently.text.normalize import normalize
from intently.train.sources import BridgeData, Item, Source

ADS = ("red robot", "drill", "Drill", "扫地机器人", "ＬＥＤ 灯", "led 灯")
QUERIES = ("robot", "ROBOT", "drill bit", "扫地", "灯", "kettle")


def make_source(name, pairs) -> Source:
    return Source(name, tuple(QUERIES[q] for q, _ in pairs), np.array([ad for _, ad in pairs], dtype=np.int64))


pairs_strategy = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12)


@given(pairs_strategy, pairs_strategy, st.booleans())
def test_known_answers_are_those_of_all_sources_and_what_reads_the_same(first, second, titled):
    titles = ("a", "b", "c", "A", "d", "e") if titled else None
    data = BridgeData(ADS, (make_source("clicks", first), make_source("keywords", second)), titles=titles)
    texts = [normalize(text) for text in titles or ADS]
    known = {(normalize(QUERIES[q]), texts[ad]) for q, ad in first + second}
    assert set(data.queries) == {query for query, _ in known}
    rows, ads = np.arange(len(data.queries)), np.arange(len(ADS))
    expected = [[(query, text) in known for text in texts] for query in data.queries]
    assert data.is_positive(rows[:, None], ads[None, :]).tolist() == expected
    asked = np.array([len(data.queries) - 1, 0, 0])
    owners, answers = data.positives(asked)
    found = [set(answers[owners == place].tolist()) for place in range(3)]
    assert found == [{int(data.answer_ids[ad]) for ad in ads if expected[row][ad]} for row in asked.tolist()]
    assert [data.queries[row] for row in data.pairs.query_rows] == [normalize(QUERIES[q]) for q, _ in first + second]
    assert data.pairs.sources.tolist() == [0] * len(first) + [1] * len(second)


def test_a_source_of_ads_names_each_text_once_and_where_it_stands():
    source = Source.of_ads("generated", [["a", "b", "a", "c"], [], ["灯", "灯", "b"]], Item.GENERATED)
    assert source.queries == ("a", "b", "c", "灯", "b")
    assert source.ad_rows.tolist() == [0, 0, 0, 2, 2]
    assert source.places is not None
    assert source.places.tolist() == [0, 1, 2, 0, 1]
    data = BridgeData(("x", "y", "z"), (make_source("clicks", [(0, 1)]), source))
    assert data.pairs.generated_places.tolist() == [-1, 0, 1, 2, 0, 1]
    assert data.pairs.keyword_places.tolist() == [-1] * 6
    assert Source.of_ads("intentions", [["a"]]).places is None


def test_weights_compare_the_pairs_of_one_source():
    clicks = Source("clicks", ("a", "b"), np.array([0, 1]), weights=np.array([30.0, 10.0]))
    data = BridgeData(ADS, (clicks, make_source("keywords", [(2, 2)])))
    assert data.pairs.weights.tolist() == [1.5, 0.5, 1.0]
    assert data.clicks_of_ads.tolist() == [1, 1, 0, 0, 0, 0]


def test_judged_irrelevant_ads_are_drawn_for_known_queries():
    irrelevant = make_source("irrelevant", [(3, 1), (5, 0), (1, 4), (3, 2)])
    data = BridgeData(ADS, (make_source("clicks", [(0, 0), (3, 3), (4, 5)]),), irrelevant=irrelevant)
    rng = np.random.default_rng(0)
    drawn = np.array([data.draw_irrelevant(np.array([0, 1, 2]), rng) for _ in range(30)])
    assert set(drawn[:, 0]) == {4}
    assert set(drawn[:, 1]) == {1, 2}
    assert set(drawn[:, 2]) == {-1}
    without = BridgeData(ADS, data.sources)
    assert without.draw_irrelevant(np.array([0, 1]), rng).tolist() == [-1, -1]


@given(st.integers(0, 30), st.integers(0, 4))
def test_held_out_queries_are_not_learnt(number, seed):
    rng = np.random.default_rng(1)
    sources = tuple(
        Source(name, tuple(f"query {q}" for q in rng.integers(40, size=60)), rng.integers(6, size=60))
        for name in ("clicks", "keywords")
    )
    data = BridgeData(ADS, sources)
    learnt, held_out = data.split(number, seed)
    for index in range(2):
        both = np.concatenate((learnt[index], held_out[index]))
        assert sorted(both) == list(range(60 * index, 60 * index + 60))
        queries = [set(data.pairs.query_rows[part].tolist()) for part in (learnt[index], held_out[index])]
        assert not queries[0] & queries[1]
        assert min(number, 12) - 5 <= len(held_out[index]) <= min(number, 12)
    again = data.split(number, seed)[1]
    assert all(np.array_equal(one, other) for one, other in zip(held_out, again, strict=True))


@pytest.mark.parametrize(
    ("build", "problem"),
    [
        (lambda: BridgeData(ADS, ()), "no pairs to learn from"),
        (lambda: BridgeData(ADS, (make_source("clicks", []),)), "'clicks' has no pairs"),
        (lambda: BridgeData(ADS[:1], (make_source("clicks", [(0, 1)]),)), "outside the 1"),
        (lambda: BridgeData(ADS, (make_source("a", [(0, 1)]), make_source("a", [(0, 1)]))), "one name"),
        (lambda: BridgeData(ADS, (make_source("a", [(0, 1)]),), titles=("a",)), "'titles' are of 1 ads"),
        (lambda: Source("a", ("x", "y"), np.array([0])), "2 queries and 1 ads"),
        (lambda: Source("a", ("x",), np.array([0]), weights=np.array([0.0])), "not above 0"),
        (lambda: Source("a", ("x",), np.array([0]), item=Item.KEYWORD), "only one of"),
    ],
)
def test_what_does_not_fit_is_named(build, problem):
    with pytest.raises(InputError, match=problem):
        build()
