"""Two variants compared: the difference, its interval, its p-value."""

import math
from dataclasses import dataclass

import numpy as np

from intently.arrays import Float64Array
from intently.errors import InputError
from intently.market.distributions import student_p_value, student_quantile


@dataclass(frozen=True, slots=True)
class Sample:
    """What one variant showed: units, the mean of a metric, and its variance between units.

    `baseline` is the mean before an adjustment by CUPED, which relative differences are relative to;
    `baseline_variance` is the variance before it, `baseline_covariance` that of units before with units after it.
    """

    num_units: int
    mean: float
    variance: float
    baseline: float | None = None
    baseline_variance: float | None = None
    baseline_covariance: float | None = None

    @property
    def base(self) -> float:
        """Return the mean that relative differences are relative to."""
        return self.mean if self.baseline is None else self.baseline


@dataclass(frozen=True, slots=True)
class Difference:
    """Treatment minus control, or that divided by control."""

    estimate: float
    interval: tuple[float, float]
    p_value: float
    standard_error: float
    relative: bool


def mean_sample(values: Float64Array) -> Sample:
    """Return the sample of a metric with one value a unit (N,): clicks a user, spend a user."""
    values = np.asarray(values, np.float64)
    if len(values) < 2 or not np.isfinite(values).all():
        raise InputError(f"got {len(values)} values", cure="pass finite numbers, at least 2", field="values")
    return Sample(len(values), float(values.mean()), float(values.var(ddof=1)))


def ratio_sample(parts: Float64Array, wholes: Float64Array) -> Sample:
    """Return the sample of a ratio of sums over units (N,): clicks over impressions, both counted for each user.

    Units, not impressions, are independent; the variance is that of the ratio by the delta method. Source: Deng,
    Knoblich and Lu, "Applying the Delta Method in Metric Analytics", KDD 2018.
    """
    parts, wholes = np.asarray(parts, np.float64), np.asarray(wholes, np.float64)
    if parts.shape != wholes.shape or len(parts) < 2 or not wholes.sum() > 0:
        told = f"got {parts.shape} and {wholes.shape}"
        raise InputError(told, cure="pass equally many numbers, at least 2, and wholes above 0", field="wholes")
    part, whole = float(parts.mean()), float(wholes.mean())
    covariance = np.cov(parts, wholes, ddof=1)
    variance = (
        covariance[0, 0] / whole**2 - 2 * part * covariance[0, 1] / whole**3 + part**2 * covariance[1, 1] / whole**4
    )
    return Sample(len(parts), part / whole, max(float(variance), 0.0))


def compare(control: Sample, treatment: Sample, *, relative: bool = True, confidence: float = 0.95) -> Difference:
    """Return how much better the treatment is, by Welch's t-test.

    Valid for one look, at a size fixed beforehand: who looks again and again uses `compare_at_any_time`. The p-value is
    that of the absolute difference, and a relative interval is Fieller's (`relative_interval`). Where it has bounds, it
    leaves 0 out exactly if p is below 1 - confidence. The standard error of a relative difference is that of the delta
    method. Raises `InputError` if there is nothing to be relative to.
    """
    estimate, variance = difference(control, treatment, relative)
    gain, spread = difference(control, treatment, False)
    if not spread:
        return Difference(estimate, (estimate, estimate), 1.0 if not estimate else 0.0, 0.0, relative)
    shares = [sample.variance / sample.num_units for sample in (control, treatment)]
    degrees = sum(shares) ** 2 / sum(
        share**2 / (sample.num_units - 1) for share, sample in zip(shares, (control, treatment), strict=True)
    )
    errors = student_quantile((1 + confidence) / 2, degrees)
    half = errors * math.sqrt(spread)
    interval = relative_interval(control, treatment, errors) if relative else (gain - half, gain + half)
    p_value = student_p_value(gain / math.sqrt(spread), degrees)
    return Difference(estimate, interval, p_value, math.sqrt(variance), relative)


def relative_interval(control: Sample, treatment: Sample, errors: float) -> tuple[float, float]:
    """Return the relative differences that the samples do not rule out at so many standard `errors`.

    These are all d for which the gain less d times the control's mean is within its own error of 0. The delta method,
    which takes the control's mean for known, raises false alarms where it is not: where few of the units have orders,
    for one. If the control's mean may as well be 0, nothing is ruled out: (-inf, inf). Source: Fieller, "Some Problems
    in Interval Estimation", 1954; Franz, "Ratios: A short guide to confidence limits and proper use", 2007.
    """
    gain, spread = difference(control, treatment, False)
    of_base = control.variance if control.baseline_variance is None else control.baseline_variance
    shared = control.variance if control.baseline_covariance is None else control.baseline_covariance
    share = errors**2 / control.num_units
    a = control.base**2 - share * of_base
    if a <= 0:
        return -math.inf, math.inf
    b = gain * control.base + share * shared
    root = math.sqrt(max(b**2 - a * (gain**2 - errors**2 * spread), 0.0))
    return (b - root) / a, (b + root) / a


def difference(control: Sample, treatment: Sample, relative: bool) -> tuple[float, float]:
    """Return the difference of two means and its variance."""
    gain = treatment.mean - control.mean
    if not relative:
        return gain, treatment.variance / treatment.num_units + control.variance / control.num_units
    if not control.base:
        cure = "compare with relative=False"
        raise InputError("the control's mean is 0: nothing is relative to it", cure=cure, field="relative")
    variance = treatment.variance / (control.base**2 * treatment.num_units) + control.variance * treatment.base**2 / (
        control.base**4 * control.num_units
    )
    return gain / control.base, variance
