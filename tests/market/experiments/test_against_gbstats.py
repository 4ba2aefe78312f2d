"""Comparisons against GrowthBook's `gbstats` 0.8.0, to 1e-9; of relative ones the estimates, as intervals differ.

Relative intervals of gbstats are those of the delta method, ours are Fieller's, and agree where samples are large.

It needs NumPy below 2, so it cannot be installed beside Intently. These numbers are what it returned for the samples
that `sample` makes of whole numbers: estimate, interval, p-value of TwoSidedTTest and SequentialTwoSidedTTest with
their default settings; SampleMeanStatistic, RatioStatistic, RegressionAdjustedStatistic with compute_theta; check_srm.
"""

import numpy as np
import pytest

from intently.market.experiments import (
    adjusted_samples,
    compare,
    compare_at_any_time,
    mean_sample,
    ratio_sample,
    sample_ratio,
)


def sample(seed: int, num: int, shift: int) -> tuple[np.ndarray, np.ndarray]:
    """A covariate and a metric."""
    i = np.arange(num)
    x = ((i * 7919 + seed * 104729) % 1009) % 13
    y = x + ((i * 6101 + seed * 611953) % 997) % 11 + shift * (i % 3 == 0)
    return x.astype(float), y.astype(float)


EXPECTED: dict = {
    (400, 420, 1): {
        "t_relative": (0.03535766010039977, -0.027775659463840335, 0.09849097966463988, 0.2719591837323625),
        "seq_relative": (0.03535766010039977, -0.07637972546572798, 0.14709504566652754, 1.0),
        "t_absolute": (0.38654761904762047, -0.29107912065150465, 1.0641743587467456, 0.26316650633949057),
        "seq_absolute": (0.38654761904762047, -0.8127595107895109, 1.5858547488847519, 1.0),
        "ratio": (0.02650378551640614, -0.022298342260064077, 0.07530591329287635, 0.28673468029141524),
        "cuped": (0.029827373926068393, -0.010635641456964225, 0.070290389309101, 0.14829879366223175),
        "cuped_abs": (0.3260877654467427, -0.10836944109448088, 0.7605449719879662, 0.14106588864669778),
    },
    (5000, 4800, 0): {
        "t_relative": (-0.00018694486494378443, -0.01773340366229164, 0.01735951393240407, 0.9833381486754598),
        "seq_relative": (-0.00018694486494378443, -0.027578262568542566, 0.027204372838654997, 1.0),
        "t_absolute": (-0.0020500000000005514, -0.19447872731485055, 0.19037872731484945, 0.983339687056163),
        "seq_absolute": (-0.0020500000000005514, -0.30244545107397597, 0.29834545107397487, 1.0),
        "ratio": (0.00017610239826832183, -0.013708272817739507, 0.01406047761427615, 0.9801653285057728),
        "cuped": (4.10687386248526e-05, -0.011372565061428024, 0.011454702538677728, 0.9943725114267088),
        "cuped_abs": (0.00045035157401240866, -0.12472073963920521, 0.12562144278723003, 0.9943730268968627),
    },
    (60, 50, 3): {
        "t_relative": (0.04270986745213558, -0.14307524770080593, 0.22849498260507706, 0.6494278417976549),
        "seq_relative": (0.04270986745213558, -0.5600279757459057, 0.6454477106501768, 1.0),
        "t_absolute": (0.4833333333333343, -1.579181960859489, 2.5458486275261576, 0.6431110991597371),
        "seq_absolute": (0.4833333333333343, -6.208031682434309, 7.174698349100978, 1.0),
        "ratio": (0.1349223047098074, -0.015803381491004964, 0.28564799091061976, 0.07869235020583831),
        "cuped": (0.10132153898632756, -0.016442092142339007, 0.21908517011499412, 0.09092423919544657),
        "cuped_abs": (1.1466220828619402, -0.16353084935216655, 2.456775015076047, 0.08557837006842495),
    },
}
SRM = (0.0476703806561615, 5.993665986784811e-05)


def told(difference) -> tuple[float, ...]:
    return difference.estimate, *difference.interval, difference.p_value


@pytest.mark.parametrize("sizes", EXPECTED)
def test_comparisons(sizes):
    num_a, num_b, shift = sizes
    (xa, ya), (xb, yb) = sample(1, num_a, 0), sample(2, num_b, shift)
    a, b = mean_sample(ya), mean_sample(yb)
    adjusted, left = adjusted_samples({"a": ya, "b": yb}, {"a": xa, "b": xb})
    found = {
        "t_relative": compare(a, b),
        "t_absolute": compare(a, b, relative=False),
        "seq_relative": compare_at_any_time(a, b),
        "seq_absolute": compare_at_any_time(a, b, relative=False),
        "ratio": compare(ratio_sample(ya, xa + 1), ratio_sample(yb, xb + 1)),
        "cuped": compare(adjusted["a"], adjusted["b"]),
        "cuped_abs": compare(adjusted["a"], adjusted["b"], relative=False),
    }
    for name, expected in EXPECTED[sizes].items():
        if name.endswith(("absolute", "abs")):
            np.testing.assert_allclose(told(found[name]), expected, rtol=1e-9, atol=1e-9, err_msg=name)
        else:
            assert found[name].estimate == pytest.approx(expected[0], rel=1e-9, abs=1e-9)
            far = 1e-3 if num_a > 1_000 else 0.4
            np.testing.assert_allclose(told(found[name]), expected, atol=far, err_msg=name)
    assert 0 < left < 1


def test_sample_ratios():
    first = sample_ratio({"a": 5000, "b": 5200}, {"a": 1, "b": 1})
    second = sample_ratio({"a": 900, "b": 1000, "c": 1100}, {"a": 0.3, "b": 0.3, "c": 0.4})
    np.testing.assert_allclose([first.p_value, second.p_value], SRM, rtol=1e-9)
