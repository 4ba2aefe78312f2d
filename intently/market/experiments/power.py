"""How many units an experiment needs, and what it can see with those it has. Computed before it starts."""

import math

from intently.errors import InputError
from intently.market.distributions import NORMAL


def power(difference: float, deviation: float, units_a_variant: float, *, alpha: float = 0.05) -> float:
    """Return how probably a true difference of two means is found significant by a two-sided test.

    `deviation` is the metric's standard deviation between units, the same in both variants.
    """
    _check(deviation, alpha)
    shift = abs(difference) / (deviation * math.sqrt(2 / units_a_variant))
    critical = NORMAL.inv_cdf(1 - alpha / 2)
    return NORMAL.cdf(shift - critical) + NORMAL.cdf(-shift - critical)


def units_needed(difference: float, deviation: float, *, wanted: float = 0.8, alpha: float = 0.05) -> int:
    """Return how many units each variant needs, for a difference to be found with the power `wanted`."""
    _check(deviation, alpha)
    if not difference or not alpha < wanted < 1:
        told = f"got a difference of {difference} and a power of {wanted}"
        raise InputError(told, cure="pass a difference that is not 0, and a power between alpha and 1", field="wanted")
    quantiles = NORMAL.inv_cdf(1 - alpha / 2) + NORMAL.inv_cdf(wanted)
    return math.ceil(2 * (quantiles * deviation / difference) ** 2)


def _check(deviation: float, alpha: float) -> None:
    if not deviation > 0 or not 0 < alpha < 1:
        told = f"got a deviation of {deviation} and alpha {alpha}"
        raise InputError(told, cure="pass a deviation above 0, and alpha between 0 and 1", field="deviation")
