"""Intervals that hold at every look: one may stop whenever one likes.

A normal mixture over the effects that could be true, tuned to be narrowest at `tuned_for` units: the mixture sequential
probability ratio test. Sources: Robbins, 1970; Johari, Pekelis and Walsh, "Always Valid Inference", 2015;
Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and asymptotic confidence
sequences", 2023, equations 9, 155 and 161.
"""

import math

from intently.errors import InputError
from intently.market.experiments.comparison import Difference, Sample, difference, relative_interval

TUNED_FOR = 5_000


def compare_at_any_time(
    control: Sample, treatment: Sample, *, relative: bool = True, confidence: float = 0.95, tuned_for: int = TUNED_FOR
) -> Difference:
    """Return how much better the treatment is, with an interval and a p-value that hold at all looks together.

    The price is an interval about half as wide again as that of one look, at the size it is tuned for. It needs some
    hundred units, as it relies on the normal distribution of means.
    """
    if tuned_for < 1 or not 0 < confidence < 1:
        told = f"got tuned_for={tuned_for}, confidence={confidence}"
        raise InputError(told, cure="pass units above 0, and a confidence between 0 and 1", field="tuned_for")
    estimate, variance = difference(control, treatment, relative)
    gain, gain_variance = difference(control, treatment, False)
    num, alpha = control.num_units + treatment.num_units, 1 - confidence
    if not gain_variance:
        return Difference(estimate, (-math.inf, math.inf), 1.0, 0.0, relative)
    surprise = -2 * math.log(alpha)
    rho_squared = (surprise + math.log(surprise + 1)) / tuned_for
    spread = num * rho_squared + 1
    errors = math.sqrt(num * 2 * spread * math.log(math.sqrt(spread) / alpha) / (num**2 * rho_squared))
    half = errors * math.sqrt(gain_variance)
    interval = relative_interval(control, treatment, errors) if relative else (gain - half, gain + half)
    exponent = rho_squared * gain**2 * num / gain_variance / (2 * spread)
    p_value = min(1.0, math.exp(min(0.5 * math.log(spread) - exponent, 0.0)))
    return Difference(estimate, interval, p_value, math.sqrt(variance), relative)
