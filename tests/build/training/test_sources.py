"""Pairs of several sources: who is a known answer, what is held out, and what is hidden from an ad."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.build.training.sources import BridgeData, Source
from intently.errors import InputError
from intently.models.encoder.features import text_keys
from intently.text.normalize import normalize

ADS = ("red robot", "drill", "Drill", "扫地机器人", "ＬＥＤ 灯", "led 灯")
QUERIES = ("robot", "ROBOT", "drill bit", "扫地", "灯", "kettle")


def make_source(name, pairs) -> Source:
    return Source(name, tuple(QUERIES[q] for q, _ in pairs), np.array([ad for _, ad in pairs], dtype=np.int64))


pairs_strategy = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12)


@settings(deadline=None)
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


def test_a_source_of_ads_names_each_text_once():
    source = Source.of_ads("generated", [["a", "b", "a", "c"], [], ["灯", "灯", "b"]])
    assert source.queries == ("a", "b", "c", "灯", "b")
    assert source.ad_rows.tolist() == [0, 0, 0, 2, 2]


def test_queries_have_the_keys_of_their_texts():
    data = BridgeData(ADS, (make_source("clicks", [(0, 0), (3, 3)]), make_source("keywords", [(1, 0), (4, 5)])))
    assert data.query_keys.tolist() == text_keys(["Robots", "扫地", "灯"]).tolist()


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
    # Ads 1 and 2 read the same, and so do 4 and 5.
    disliked = data.is_irrelevant(np.arange(3)[:, None], np.arange(6)[None, :])
    assert [np.flatnonzero(row).tolist() for row in disliked] == [[4, 5], [1, 2], []]
    without = BridgeData(ADS, data.sources)
    assert not without.is_irrelevant(np.arange(3)[:, None], np.arange(6)[None, :]).any()
    assert without.draw_irrelevant(np.array([0, 1]), rng).tolist() == [-1, -1]


@settings(deadline=None)
@given(st.integers(0, 30), st.integers(0, 4))
def test_held_out_queries_are_learnt_from_no_source(number, seed):
    rng = np.random.default_rng(1)
    sources = tuple(
        Source(name, tuple(f"query {q}" for q in rng.integers(few, size=size)), rng.integers(6, size=size))
        for name, few, size in (("clicks", 40, 60), ("keywords", 80, 90), ("intentions", 3, 30))
    )
    data = BridgeData(ADS, sources)
    learnt, held_out = data.split(number, seed)
    of_source = [np.flatnonzero(data.pairs.sources == index).tolist() for index in range(3)]
    known = np.concatenate(learnt)
    out = set(np.delete(data.pairs.query_rows, known).tolist())
    assert not out.intersection(data.pairs.query_rows[known].tolist())
    for index, own in enumerate(of_source):
        assert set(held_out[index].tolist()) <= set(own) - set(learnt[index].tolist())
        assert len(held_out[index]) == min(number, len(own) - len(learnt[index]))
        assert len(learnt[index]) >= 0.8 * len(own)
    assert len(held_out[0]) >= min(number, 12) - 4
    assert len(held_out[1]) >= min(number, 18) - 4
    assert len(held_out[2]) == 0  # each of its queries has more than a fifth of its pairs
    again = data.split(number, seed)[1]
    assert all(np.array_equal(one, other) for one, other in zip(held_out, again, strict=True))


def test_what_is_measured_of_a_source_is_limited_where_another_holds_much_out():
    clicks = Source("clicks", tuple(f"query {n}" for n in range(20)), np.zeros(20, dtype=np.int64))
    often = Source("intentions", clicks.queries * 5, np.zeros(100, dtype=np.int64))
    learnt, held_out = BridgeData(ADS, (clicks, often)).split(3, 0)
    assert [len(part) for part in learnt] == [17, 85]
    assert [len(part) for part in held_out] == [3, 3]


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
    ],
)
def test_what_does_not_fit_is_named(build, problem):
    with pytest.raises(InputError, match=problem):
        build()
