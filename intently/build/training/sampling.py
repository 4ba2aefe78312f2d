"""Click-aware sampling of pairs: ads that many users clicked are drawn less often (BRIDGE, section 4.6.2)."""

from dataclasses import dataclass

import numpy as np

from intently.arrays import Float64Array, IntArray
from intently.settings import check_range


@dataclass(frozen=True)
class SamplingSettings:
    """How much an ad's clicks and quality count when pairs are drawn; with both 0 all pairs are drawn alike.

    They are, unless it is asked for, as the other way has not been shown to help (docs/results/bridge-home-depot.md).
    """

    alpha: float = 0.0  # pairs weigh (clicks of the ad + 1)^-alpha
    gamma: float = 0.0  # ... times its quality^gamma

    def __post_init__(self) -> None:
        check_range(self, "alpha", "gamma", high=10)

    def click_aware(self) -> "SamplingSettings":
        """Return these settings if clicks count in them, else α of 0.5 and γ of 1."""
        return self if self.alpha else SamplingSettings(alpha=0.5, gamma=1.0)


def click_weights(num_clicks: IntArray, qualities: Float64Array, settings: SamplingSettings) -> Float64Array:
    """Return (clicks + 1)^(-α) · quality^γ for each entry."""
    return (num_clicks + 1.0) ** -settings.alpha * qualities**settings.gamma


class PairSampler:
    """Draws batches of P pairs by weight, as evenly as weights allow.

    An epoch has P draws. A pair that weighs w times the mean is drawn ⌊w⌋ or ⌈w⌉ times in it (systematic sampling), so
    with equal weights each exactly once. The order is drawn from (seed, epoch).
    """

    def __init__(self, weights: Float64Array, batch_size: int, seed: tuple[int, ...]) -> None:
        self._seed, self._size = seed, min(batch_size, len(weights))
        self._expected = len(weights) * weights / weights.sum() if len(weights) else weights
        self._epoch, self._drawn = -1, np.empty(0, dtype=np.int64)

    def batch(self, number: int) -> IntArray:
        """Return the positions (B,) of batch `number`; B is less than the batch size only if there are fewer pairs."""
        epoch, place = divmod(number, max(len(self._expected) // max(self._size, 1), 1))
        if epoch != self._epoch:
            self._epoch, self._drawn = epoch, self._draw(np.random.default_rng((*self._seed, epoch)))
        return self._drawn[place * self._size : (place + 1) * self._size]

    def _draw(self, rng: np.random.Generator) -> IntArray:
        num = len(self._expected)
        order = rng.permutation(num)
        below = np.cumsum(self._expected[order])
        at = np.searchsorted(below, np.arange(num) + rng.random(), side="right")
        return rng.permutation(order[np.minimum(at, num - 1)])
