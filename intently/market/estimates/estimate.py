"""An estimate, with what tells whether to believe it: its interval, its effective sample size, and warnings."""

from dataclasses import dataclass

import numpy as np

from intently.arrays import Float64Array
from intently.errors import InputError
from intently.market.distributions import NORMAL

FEWEST_EFFECTIVE = 100  # effective answers; fewer bring a warning
_LARGEST_SHARE = 0.05  # of all weight on one answer; more brings a warning


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a target policy earns an answer, by one estimator."""

    estimator: str
    value: float
    standard_error: float
    interval: tuple[float, float]
    effective_sample_size: float  # (sum of weights)² / sum of squared weights
    num_answers: int
    warnings: tuple[str, ...] = ()


def estimated(
    estimator: str,
    terms: Float64Array,
    weights: Float64Array,
    *,
    confidence: float,
    value: float | None = None,
    warnings: tuple[str, ...] = (),
) -> Estimate:
    """Return the estimate whose terms (N,) have the target's value as their mean, or linearize `value` around it.

    `weights` (N,) are what each answer counts; the effective sample size comes from them.
    """
    num = len(terms)
    value = float(terms.mean()) if value is None else value
    error = float(terms.std(ddof=1) / np.sqrt(num))
    half = NORMAL.inv_cdf((1 + confidence) / 2) * error
    squares = float(weights @ weights)
    size = float(weights.sum()) ** 2 / squares if squares else 0.0
    told = list(warnings)
    if size < FEWEST_EFFECTIVE:
        told.append(f"the effective sample size is {size:.0f}, below {FEWEST_EFFECTIVE}: do not trust the interval")
    if squares and (share := float(weights.max() / weights.sum())) > _LARGEST_SHARE:
        told.append(f"one answer has {share:.0%} of all weight")
    return Estimate(estimator, value, error, (value - half, value + half), size, num, tuple(told))


def weights_of(target: Float64Array, logged: Float64Array) -> Float64Array:
    """Return target / logged probabilities. Raises `InputError` for what is no probability, and for 0 as logged."""
    target, logged = np.asarray(target, np.float64), np.asarray(logged, np.float64)
    if target.shape != logged.shape or len(logged) < 2:
        told = f"got {target.shape} and {logged.shape}"
        raise InputError(told, cure="pass equally many probabilities, at least 2", field="logged")
    for name, column in (("target", target), ("logged", logged)):
        if not ((column >= 0) & (column <= 1)).all():
            raise InputError("not all are from 0 to 1", cure="pass probabilities", field=name)
    if not (logged > 0).all():
        cure = "leave out answers whose propensity was not logged"
        raise InputError("what was shown has a propensity of 0", cure=cure, field="logged")
    return np.asarray(target / logged)


def mean_weight_warnings(weights: Float64Array) -> tuple[str, ...]:
    """Return a warning if the mean weight is not 1, as it must be for propensities that are right."""
    mean, error = float(weights.mean()), float(weights.std(ddof=1) / np.sqrt(len(weights)))
    if abs(mean - 1) <= max(4 * error, 1e-9):
        return ()
    cure = "propensities are wrong, or the target shows what was never logged"
    return (f"the mean weight is {mean:.3f}, not 1: {cure}",)
