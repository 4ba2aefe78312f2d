import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.build.training.pairs import Choices, Taught, TrainingData, _with_taught, build_training_data
from intently.intentions.vocabulary import Vocabulary

NONE = np.empty((0, 2), dtype=np.int64)


def weights_of(choices: Choices) -> list[dict[int, float]]:
    """What each row may say: intention → weight, repeated entries added up."""
    rows: list[dict[int, float]] = []
    for start, end in zip(choices.offsets[:-1], choices.offsets[1:], strict=True):
        rows.append({})
        for entry in range(start, end):
            intention_id = int(choices.intention_ids[entry])
            weight = choices.cumulative[entry + 1] - choices.cumulative[entry]
            rows[-1][intention_id] = rows[-1].get(intention_id, 0.0) + float(weight)
    return rows


triples = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6), st.integers(1, 8)), max_size=20)


@settings(deadline=None)
@given(triples, st.integers(0, 2**32 - 1))
def test_choices_hold_what_they_were_given(entries, seed):
    columns = [np.array(column, dtype=np.int64) for column in zip(*entries, strict=True)] or [NONE[:, 0]] * 3
    choices = Choices.build(columns[0], columns[1], columns[2].astype(float), 5)
    expected: list[dict[int, float]] = [{} for _ in range(5)]
    for row, intention_id, weight in entries:
        expected[row][intention_id] = expected[row].get(intention_id, 0.0) + weight
    assert weights_of(choices) == expected
    rows = np.repeat(np.arange(5), 20)
    for row, drawn in zip(rows, choices.sample(rows, np.random.default_rng(seed)), strict=True):
        assert drawn in expected[row] if expected[row] else drawn == -1


def test_samples_follow_the_weights():
    rows, ids = np.array([2, 0, 2, 0, 2, 3]), np.array([7, 1, 8, 2, 9, 4])
    choices = Choices.build(rows, ids, np.array([1.0, 3.0, 2.0, 1.0, 5.0, 0.1]), 5)
    num = 40_000
    drawn = choices.sample(np.repeat(np.arange(5), num), np.random.default_rng(0)).reshape(5, num)
    expected = [{1: 0.75, 2: 0.25}, {-1: 1.0}, {7: 1 / 8, 8: 2 / 8, 9: 5 / 8}, {4: 1.0}, {-1: 1.0}]
    for row, shares in enumerate(expected):
        found, counts = np.unique(drawn[row], return_counts=True)
        assert found.tolist() == sorted(shares)
        for intention_id, count in zip(found.tolist(), counts.tolist(), strict=True):
            share = shares[intention_id]
            assert abs(count / num - share) <= 5 * math.sqrt(share * (1 - share) / num)


def test_no_choices_at_all():
    none = np.empty(0, dtype=np.int64)
    choices = Choices.build(none, none, np.empty(0), 3)
    assert choices.sample(np.array([0, 2, 1]), np.random.default_rng(0)).tolist() == [-1, -1, -1]
    assert choices.sample(none, np.random.default_rng(0)).tolist() == []


VOCABULARY = Vocabulary(
    texts=("drill", "bit", "红色", "saw"),
    ad_pairs=np.array([[0, 0], [0, 1], [1, 1], [2, 3], [0, 3]]),
    query_pairs=np.array([[0, 1], [3, 1]]),
)
CLICKS = np.array([[0, 1], [0, 3], [2, 2], [1, 0]])


def test_training_data_by_hand():
    irrelevant = np.array([[2, 1], [0, 2], [2, 0]])
    data = build_training_data(
        ["drill bits", "saw drill", "lamp", "灯"], list("abcd"), VOCABULARY, CLICKS, irrelevant, own_weight=3.0
    )
    idf = {i: math.log(1 + 4 / (1 + reach)) for i, reach in enumerate([3, 1, 1, 0])}
    expected = [{0: idf[0]}, {0: idf[0], 1: idf[1]}, {}, {2: idf[2], 0: idf[0]}]
    for found, wanted in zip(weights_of(data.ad_intentions), expected, strict=True):
        assert found == pytest.approx(wanted)
    expected = [
        # Two clicks: both ads share intention 0, one each brings 1 and 2.
        {0: idf[0] * (1 / 2 + 1 / 2), 1: idf[1] / 2, 2: idf[2] / 2},
        {0: idf[0] * (1 + 3), 3: 3 * idf[3]},  # one click, and what the query says itself
        {},  # its ad has no intentions
        {},  # never clicked
    ]
    for found, wanted in zip(weights_of(data.query_intentions), expected, strict=True):
        assert found == pytest.approx(wanted)
    assert data.irrelevant.tolist() == [[0, 2], [2, 1], [2, 0]]
    assert (data.queries[1], data.ad_texts, data.intentions) == ("saw drill", tuple("abcd"), VOCABULARY.texts)


def test_training_data_without_clicks():
    vocabulary = Vocabulary(VOCABULARY.texts, VOCABULARY.ad_pairs, NONE)
    data = build_training_data([], list("abcd"), vocabulary, NONE, NONE)
    assert weights_of(data.query_intentions) == []
    assert [sorted(row) for row in weights_of(data.ad_intentions)] == [[0], [0, 1], [], [0, 2]]
    assert data.is_click(np.array([[-1], [0]]), np.array([[0, 1, 2]])).tolist() == [[False] * 3] * 2


@settings(deadline=None)
@given(
    st.sets(st.tuples(st.integers(0, 3), st.integers(0, 4)), max_size=12),
    st.lists(st.integers(-1, 3), max_size=6),
    st.lists(st.integers(0, 4), max_size=6),
)
def test_is_click_equals_a_set(clicks, query_rows, ad_rows):
    empty = Choices.build(NONE[:, 0], NONE[:, 0], np.empty(0), 5)
    pairs = np.array(list(clicks), dtype=np.int64).reshape(-1, 2)
    data = TrainingData(tuple("pqrs"), tuple("abcde"), (), pairs, NONE, empty, empty)
    found = data.is_click(np.array(query_rows, dtype=np.int64)[:, None], np.array(ad_rows, dtype=np.int64)[None, :])
    assert found.shape == (len(query_rows), len(ad_rows))
    assert found.tolist() == [[(query, ad) in clicks for ad in ad_rows] for query in query_rows]


def taught_from(entries) -> Taught:
    """Return what was said as (row, intention, probability) entries."""
    pairs = np.array([(intention_id, row) for row, intention_id, _ in entries], dtype=np.int64).reshape(-1, 2)
    return Taught(pairs, np.log([probability for _, _, probability in entries]))


def mixed(own: dict[int, float], said: dict[int, float], share: float) -> dict[int, float]:
    """The slow twin: one row's probabilities."""
    own_share, said_share = (1 - share, share) if own and said else (1.0, 1.0)
    chances: dict[int, float] = {}
    for weights, of_all in ((own, own_share), (said, said_share)):
        for intention_id, weight in weights.items():
            chances[intention_id] = chances.get(intention_id, 0.0) + of_all * weight / sum(weights.values())
    return chances


taught_entries = st.dictionaries(
    st.tuples(st.integers(0, 4), st.integers(0, 6)), st.sampled_from([0.001, 0.25, 0.5, 1.0]), max_size=12
)


@settings(deadline=None)
@given(triples, taught_entries, st.sampled_from([0.0, 0.3, 0.5, 1.0]))
def test_what_is_taught_has_its_share_of_every_row(entries, said, share):
    columns = [np.array(column, dtype=np.int64) for column in zip(*entries, strict=True)] or [NONE[:, 0]] * 3
    choices = Choices.build(columns[0], columns[1], columns[2].astype(float), 5)
    taught = taught_from([(row, intention_id, chance) for (row, intention_id), chance in said.items()])
    together = weights_of(_with_taught(choices, taught, share))
    if not said:
        assert together == weights_of(choices)  # nothing changes
        return
    for row, own in enumerate(weights_of(choices)):
        of_row = {intention_id: chance for (other, intention_id), chance in said.items() if other == row}
        assert together[row] == pytest.approx(mixed(own, of_row, share), abs=1e-9)


def test_taught_by_hand():
    vocabulary = Vocabulary(
        VOCABULARY.texts,
        VOCABULARY.ad_pairs,
        VOCABULARY.query_pairs,
        np.array([[3, 0], [1, 2], [0, 2]]),
        np.log([0.2, 0.6, 0.2]),
    )
    taught = Taught(np.array([[2, 0], [3, 3], [2, 3]]), np.log([0.5, 0.3, 0.1]))
    queries = ["drill bits", "saw drill", "lamp", "灯"]
    data = build_training_data(
        queries, list("abcd"), vocabulary, CLICKS, NONE, taught_queries=taught, taught_share=0.25
    )
    plain = build_training_data(queries, list("abcd"), VOCABULARY, CLICKS, NONE)
    ads, queries_may = weights_of(data.ad_intentions), weights_of(data.query_intentions)
    assert ads[0] == pytest.approx({0: 0.75, 3: 0.25})
    assert ads[2] == pytest.approx({1: 0.75, 0: 0.25})  # only taught: all of it
    own = weights_of(plain.query_intentions)[0]
    expected = {intention_id: 0.75 * weight / sum(own.values()) for intention_id, weight in own.items()}
    expected[2] += 0.25
    assert queries_may[0] == pytest.approx(expected)
    assert queries_may[3] == pytest.approx({3: 0.75, 2: 0.25})
    # What clicks bring to queries are an ad's own intentions, not what was said of it.
    assert set(queries_may[1]) == set(weights_of(plain.query_intentions)[1])
    assert data.query_intentions.sample(np.array([2]), np.random.default_rng(0)).tolist() == [-1]


def test_nothing_that_was_taught_is_likely_at_all():
    choices = Choices.build(np.array([0]), np.array([1]), np.array([2.0]), 2)
    hopeless = Taught(np.array([[3, 0], [3, 1]]), np.array([-2000.0, -np.inf]))
    together = _with_taught(choices, hopeless, 0.5)
    assert together.sample(np.zeros(50, dtype=np.int64), np.random.default_rng(0)).tolist() == [1] * 50


@settings(deadline=None, max_examples=50)
@given(triples, st.integers(0, 8), st.integers(0, 2**32 - 1))
def test_distinct_draws_are_a_rows_own_and_never_twice(entries, number, seed):
    columns = [np.array(column, dtype=np.int64) for column in zip(*entries, strict=True)] or [NONE[:, 0]] * 3
    choices = Choices.build(columns[0], columns[1], columns[2].astype(float), 5)
    for row, own in enumerate(weights_of(choices)):
        drawn = choices.distinct(row, number, np.random.default_rng(seed))
        assert len(drawn) == len(set(drawn)) == min(number, len(own))
        assert set(drawn) <= set(own)
        assert drawn == choices.distinct(row, number, np.random.default_rng(seed))
        assert all(type(one) is int for one in drawn)


def test_distinct_draws_follow_the_weights():
    """The order is that of drawing one after the other by weight, without putting back."""
    rows, ids = np.array([0, 1, 1, 1, 1]), np.array([9, 4, 5, 6, 4])
    choices = Choices.build(rows, ids, np.array([1.0, 2.0, 3.0, 4.0, 1.0]), 2)  # 4 counts twice: 3, 3 and 4 of 10
    rng, num = np.random.default_rng(0), 20_000
    drawn = [tuple(choices.distinct(1, 2, rng)) for _ in range(num)]
    weights = {4: 0.3, 5: 0.3, 6: 0.4}
    for first, share in weights.items():
        for second, other in weights.items():
            expected = share * other / (1 - share) if first != second else 0.0
            found = drawn.count((first, second)) / num
            assert abs(found - expected) <= 5 * math.sqrt(expected * (1 - expected) / num)


def test_distinct_draws_what_weighs_nothing_last():
    choices = Choices.build(np.zeros(3, dtype=np.int64), np.array([1, 2, 3]), np.array([1e9, 1e-12, 1.0]), 1)
    for seed in range(20):
        assert choices.distinct(0, 2, np.random.default_rng(seed)) in ([1, 3], [3, 1])
