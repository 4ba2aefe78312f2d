"""Click-aware sampling: how often a pair is drawn, and that none is left out where all weigh alike."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intently.build.training.sampling import PairSampler, SamplingSettings, click_weights


def epoch(sampler: PairSampler, num_batches: int, number: int = 0) -> list[int]:
    return [row for batch in range(num_batches) for row in sampler.batch(number * num_batches + batch).tolist()]


@pytest.mark.parametrize("value", [1.0, 0.1])
def test_alike_pairs_are_drawn_once_an_epoch(value):
    sampler = PairSampler(np.full(60, value), 12, (0, 2))
    first, second = epoch(sampler, 5), epoch(sampler, 5, 1)
    assert sorted(first) == sorted(second) == list(range(60))
    assert first != second
    assert epoch(sampler, 5) == first  # going back, too
    assert epoch(PairSampler(np.full(60, value), 12, (1, 2)), 5) != first


@given(st.lists(st.floats(0.01, 10), min_size=2, max_size=30), st.integers(0, 5))
def test_pairs_are_drawn_by_weight(weights, seed):
    weights = np.array(weights)
    counts = Counter(epoch(PairSampler(weights, 1, (seed,)), len(weights)))
    for row, expected in enumerate(len(weights) * weights / weights.sum()):
        assert np.floor(expected - 1e-6) <= counts[row] <= np.ceil(expected + 1e-6)


def test_over_epochs_the_mean_is_the_weight():
    weights = np.array([3.0, 1.0, 0.5, 0.5, 0.3, 0.7])
    counts = Counter(row for number in range(400) for row in epoch(PairSampler(weights, 2, (7,)), 3, number))
    assert [counts[row] / 400 for row in range(6)] == pytest.approx(weights.tolist(), abs=0.1)


def test_a_batch_takes_what_there_is():
    assert sorted(PairSampler(np.ones(3), 8, (0,)).batch(5).tolist()) == [0, 1, 2]


def test_what_is_clicked_often_weighs_less():
    clicks, qualities = np.array([0, 3, 99, 99]), np.array([1.0, 1.0, 1.0, 0.25])
    weights = click_weights(clicks, qualities, SamplingSettings(alpha=0.5, gamma=2.0))
    assert weights == pytest.approx([1, 0.5, 0.1, 0.1 / 16])
    assert click_weights(clicks, qualities, SamplingSettings(alpha=0, gamma=0)) == pytest.approx([1, 1, 1, 1])
