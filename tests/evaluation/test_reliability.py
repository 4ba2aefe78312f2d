import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intently.errors import InputError
from intently.evaluation.calibration import expected_calibration_error, reliability, threshold_keeping

PAIRS = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60)


def arrays(pairs):
    return np.array([each for each, _ in pairs]), np.array([each for _, each in pairs])


@given(PAIRS, st.integers(1, 20))
def test_the_error_is_that_of_bins_filled_one_by_one(pairs, num_bins):
    bins = reliability(*arrays(pairs), num_bins)
    by_hand: dict[int, list] = {}
    for pair in pairs:
        by_hand.setdefault(min(int(pair[0] * num_bins), num_bins - 1), []).append(pair)
    error = 0.0
    for own in by_hand.values():
        stated = sum(probability for probability, _ in own) / len(own)
        observed = sum(is_relevant for _, is_relevant in own) / len(own)
        error += len(own) / len(pairs) * abs(stated - observed)
    assert [each.count for each in bins] == [len(own) for _, own in sorted(by_hand.items())]
    assert math.isclose(expected_calibration_error(bins), error, abs_tol=1e-9)


def test_what_is_stated_rightly_has_no_error():
    rng = np.random.default_rng(0)
    stated = rng.random(200_000)
    right = reliability(stated, rng.random(200_000) < stated)
    assert expected_calibration_error(right) < 0.005 < 0.2 < expected_calibration_error(reliability(stated, stated < 2))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.sampled_from([0.0, 0.5, 0.9, 0.95, 1.0]))
def test_the_threshold_is_the_highest_that_keeps_the_share(probabilities, share):
    least = threshold_keeping(np.array(probabilities), share)
    needed = share * len(probabilities) - 1e-6
    assert sum(each >= least for each in probabilities) >= needed
    assert all(sum(each >= more for each in probabilities) < max(needed, 1) for more in probabilities if more > least)


def test_what_cannot_be_measured_is_refused():
    some = np.array([0.5, 0.7])
    for probabilities, relevant in ((some, some[:1] > 0), (some + 0.5, some > 0), (some * np.nan, some > 0)):
        with pytest.raises(InputError):
            reliability(probabilities, relevant)
    with pytest.raises(InputError, match="no ads"):
        expected_calibration_error(reliability(some[:0], some[:0] > 0))
    with pytest.raises(InputError, match="no good ads"):
        threshold_keeping(some[:0])
