"""Click-aware importance, and how a budget is allotted by it (BRIDGE, "click-aware sampling").

Clicks are skewed: a few ads have most of them. An ad's importance ∝ (clicks + 1)^(-α) · quality^γ weighs those down
that users have shown already, and those that users did not like.
"""

from dataclasses import dataclass

import numpy as np

from intently.arrays import Float64Array, IntArray
from intently.errors import InputError
from intently.settings import check_range


@dataclass(frozen=True)
class ImportanceSettings:
    """How much clicks and quality count."""

    alpha: float = 0.5  # 0: clicks do not matter
    gamma: float = 1.0  # 0: quality does not matter
    prior: float = 5.0  # judgements that an ad has had before the first, all of them good

    def __post_init__(self) -> None:
        check_range(self, "alpha", "gamma", high=10)
        check_range(self, "prior", exclusive=True)


def quality(num_judged: IntArray, num_positive: IntArray, settings: ImportanceSettings) -> Float64Array:
    """Return each ad's quality (N,) in (0, 1]: the share of its judged pairs that are relevant or were clicked.

    It is smoothed towards 1, (positive + prior) / (judged + prior), so that an ad that nobody judged has exactly 1 and
    a single bad judgement says little.
    """
    return (num_positive + settings.prior) / (num_judged + settings.prior)


def importance(num_clicks: IntArray, qualities: Float64Array, settings: ImportanceSettings) -> Float64Array:
    """Return the weights (N,), summing to 1, of ads by their clicks and quality: (clicks + 1)^(-α) · quality^γ."""
    weights = (num_clicks + 1.0) ** -settings.alpha * qualities**settings.gamma
    return weights / max(float(weights.sum()), np.finfo(np.float64).tiny)


def allot(weights: Float64Array, budget: int, max_per_ad: int) -> IntArray:
    """Return how much of `budget` each ad (N,) gets, in proportion to `weights` and at most `max_per_ad`.

    What a capped ad leaves goes to the others, again in proportion; the rest is rounded by largest remainder, ties to
    the earlier ad. The sum is exactly `budget`, or all that the cap lets ads of positive weight have. Raises
    `InputError` for a negative or infinite weight.
    """
    weights = np.asarray(weights, dtype=np.float64)
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise InputError("a weight is negative or not finite", cure="give every ad a weight of 0 or more")
    able = weights > 0
    total = min(budget, int(able.sum()) * max_per_ad)
    quotas = np.zeros(len(weights))
    open_ads, left = able, float(total)
    while left > 0 and open_ads.any():
        quotas[open_ads] = left * (weights[open_ads] / weights[open_ads].sum())
        full = open_ads & (quotas >= max_per_ad)
        if not full.any():
            break
        quotas[full] = max_per_ad
        open_ads = open_ads & ~full
        left = float(total - max_per_ad * np.count_nonzero(able & ~open_ads))
    shares = np.floor(quotas + 1e-9).astype(np.int64)
    room = able & (shares < max_per_ad)
    by_remainder = np.lexsort((np.arange(len(weights)), -np.round(quotas - shares, 9)))
    by_remainder = by_remainder[room[by_remainder]]
    shares[by_remainder[: total - int(shares.sum())]] += 1
    return shares
