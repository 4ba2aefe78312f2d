import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intently.intentions.vocabulary import Vocabulary
from intently.train.pairs import Choices, TrainingData, build_training_data

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
