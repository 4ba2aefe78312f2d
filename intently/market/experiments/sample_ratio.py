"""Sample ratio mismatch: whether the variants got the traffic they should have got."""

from collections.abc import Mapping
from dataclasses import dataclass

from intently.errors import InputError
from intently.market.distributions import chi_square_p_value

ALARM_BELOW = 0.001


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """Units of each variant, and whether their numbers are credible. A mismatch forbids any verdict on the variants."""

    counts: Mapping[str, int]
    p_value: float

    @property
    def is_mismatch(self) -> bool:
        """Return whether something else than chance has split the traffic: a bug, bots, lost events."""
        return self.p_value < ALARM_BELOW


def sample_ratio(counts: Mapping[str, int], shares: Mapping[str, float]) -> SampleRatio:
    """Return the chi-square test of the units of each variant against the shares that were planned.

    Source: Fabijan et al., "Diagnosing Sample Ratio Mismatch in Online Controlled Experiments", KDD 2019.
    """
    if counts.keys() != shares.keys() or len(shares) < 2 or min(shares.values()) <= 0:
        told = f"got counts of {sorted(counts)} and shares of {sorted(shares)}"
        raise InputError(told, cure="pass a count and a share above 0 for each variant", field="counts")
    total, whole = sum(counts.values()), sum(shares.values())
    if not total:
        return SampleRatio(counts, 1.0)
    expected = {name: total * share / whole for name, share in shares.items()}
    statistic = sum((counts[name] - each) ** 2 / each for name, each in expected.items())
    return SampleRatio(counts, chi_square_p_value(statistic, len(shares) - 1))
