"""The resampling tests against exact enumeration and known distributions."""

import itertools

import numpy as np
import pytest

from intently.evaluation import bootstrap_interval, randomization_test


def exact_p_value(differences: np.ndarray) -> float:
    """The slow twin: all sign patterns."""
    signs = np.array(list(itertools.product([1, -1], repeat=len(differences))))
    return float(np.mean(np.abs(signs @ differences) >= abs(differences.sum()) - 1e-9))


@pytest.mark.parametrize("seed", range(5))
def test_randomization_test_approaches_the_exact_one(seed):
    differences = np.random.default_rng(seed).normal(0.3, 1, (12, 3))
    sampled = randomization_test(differences, seed=seed)
    np.testing.assert_allclose(sampled, [exact_p_value(column) for column in differences.T], atol=0.02)


def test_no_difference_is_no_evidence():
    assert randomization_test(np.zeros((20, 1))).tolist() == [1]


def test_p_is_never_zero():
    assert randomization_test(np.ones((100, 1)))[0] == pytest.approx(1 / 10_001)


def test_p_is_two_sided_and_seeded():
    differences = np.random.default_rng(0).normal(0.2, 1, (40, 1))
    assert randomization_test(differences) == randomization_test(-differences)


def test_many_queries_are_drawn_in_chunks():
    differences = np.random.default_rng(0).normal(0, 1, (50_000, 1))
    assert 0 < randomization_test(differences, num_samples=200)[0] <= 1
    low, high = bootstrap_interval(differences, num_samples=200)
    assert low < differences.mean() < high


def test_bootstrap_interval_is_the_normal_one_for_many_queries():
    differences = np.random.default_rng(0).normal(0.1, 1, (1000, 2))
    low, high = bootstrap_interval(differences)
    half = 1.96 * differences.std(axis=0) / np.sqrt(1000)
    np.testing.assert_allclose(low, differences.mean(axis=0) - half, atol=0.005)
    np.testing.assert_allclose(high, differences.mean(axis=0) + half, atol=0.005)
