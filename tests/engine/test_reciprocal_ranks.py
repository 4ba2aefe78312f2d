import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intently.engine.reciprocal_ranks import reciprocal_rank_fusion

rankings_strategy = st.lists(
    st.tuples(st.lists(st.integers(0, 9), unique=True, max_size=10), st.sampled_from([0.0, 0.5, 1.0, 3.0])), max_size=4
)


@given(rankings_strategy, st.sampled_from([0.0, 10.0, 60.0]))
def test_equals_adding_up_in_a_dict(weighted, constant):
    scores: dict[int, float] = {}
    for ranking, weight in weighted:
        for rank, row in enumerate(ranking, start=1):
            scores[row] = scores.get(row, 0.0) + weight / (constant + rank)
    rows, fused = reciprocal_rank_fusion(
        [np.array(ranking, dtype=np.int64) for ranking, _ in weighted], [weight for _, weight in weighted], constant
    )
    assert rows.tolist() == sorted(scores, key=lambda row: (-round(scores[row], 12), row))
    assert fused.tolist() == pytest.approx([scores[row] for row in rows.tolist()], abs=1e-12)
    assert rows.dtype == np.int64


@given(rankings_strategy, st.lists(st.sampled_from([0.0, 0.2, 0.7]), min_size=10, max_size=10))
def test_a_judge_is_one_more_ranking_of_all_rows(weighted, goodness):
    rankings, weights = [np.array(ranking, dtype=np.int64) for ranking, _ in weighted], [each for _, each in weighted]
    plain = dict(zip(*(each.tolist() for each in reciprocal_rank_fusion(rankings, weights, 10.0)), strict=True))
    rows, fused = reciprocal_rank_fusion(rankings, weights, 10.0, lambda rows: np.array(goodness)[rows], 2.0)
    place = {row: 1 + sum(goodness[other] > goodness[row] for other in plain) for row in plain}
    expected = {row: plain[row] + 2.0 / (10.0 + place[row]) for row in plain}
    assert rows.tolist() == sorted(plain, key=lambda row: (-round(expected[row], 12), row))
    assert fused.tolist() == pytest.approx([expected[row] for row in rows.tolist()], abs=1e-12)


def test_by_hand():
    rows, scores = reciprocal_rank_fusion([np.array([4, 2]), np.array([2, 7])], [1.0, 2.0], 1.0)
    assert rows.tolist() == [2, 7, 4]
    assert scores.tolist() == pytest.approx([1 / 3 + 2 / 2, 2 / 3, 1 / 2])


def test_every_ranking_has_a_weight():
    with pytest.raises(ValueError, match="shorter"):
        reciprocal_rank_fusion([np.array([1]), np.array([2])], [1.0], 10.0)
