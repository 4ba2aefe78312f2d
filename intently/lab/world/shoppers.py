"""Who searches in the simulated world, when, for what, and what they do with the ads that they see.

Assumptions, with their sources; what has none is ours, chosen for plausible magnitudes:

- Shoppers differ in how often they search (gamma), and a week before the experiment they did so at the same rate.
- Queries are asked by Zipf's law. The day has two peaks, at noon and in the evening.
- A shopper has one need, the query's. They look at the slots from the top, click what attracts, and stop when satisfied
  or tired: a dynamic Bayesian network (Chapelle and Zhang, WWW 2009), whose attraction and satisfaction follow from how
  well the ad answers the query (its grade, 0 to 3).
- A click may lead to a shallow conversion (added to the basket, called, filled in a form), and that to a deep one (a
  purchase or a contract). Both are likelier for better grades. Order values are log-normal, around a price of the ad.
"""

from dataclasses import dataclass

import numpy as np

from intently.arrays import Float64Array, IntArray, Mask
from intently.errors import SettingsError

DAY_S = 86_400
ATTRACTION = np.array([0.01, 0.05, 0.16, 0.24])  # by grade, of a look
SATISFACTION = np.array([0.02, 0.10, 0.35, 0.60])  # of a click
SHALLOW = np.array([0.01, 0.05, 0.20, 0.30])  # conversions of a click
DEEP = np.array([0.02, 0.10, 0.25, 0.40])  # conversions of a shallow one
CONTINUATION = 0.85
ZIPF = 0.8
# Requests by hour of the day, with a peak at noon and one in the evening.
HOURS = (3, 2, 1, 1, 1, 2, 4, 6, 8, 10, 11, 12, 12, 10, 9, 9, 9, 10, 11, 13, 14, 12, 9, 5)
ACTIVITY_SHAPE = 1.5  # of the gamma distribution of how often shoppers search
PRICE_SPREAD, ORDER_SPREAD, MEDIAN_PRICE = 0.8, 0.3, 40.0
_BLOCK = 65_536  # visits whose random numbers are drawn together


@dataclass(frozen=True, slots=True)
class ShopperSettings:
    """How many shoppers there are and how long they are watched. Raises `SettingsError` for a value out of range."""

    num_shoppers: int = 400_000
    visits_a_shopper: float = 4.0  # on average, in all days together
    num_days: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        if self.num_shoppers < 2 or not self.visits_a_shopper > 0 or self.num_days < 1 or self.seed < 0:
            raise SettingsError(
                f"{self} is out of range: at least 2 shoppers, visits above 0, a day, a seed of 0 or more"
            )


@dataclass(frozen=True, slots=True)
class Visits:
    """Visits (V,) in the order in which they happen, and what is known of shoppers (U,) from before."""

    shopper: IntArray
    query: IntArray  # number of the query
    at_s: Float64Array  # seconds since the experiment's start, which is a midnight
    before: IntArray  # (U,) visits in as long a time before the experiment


def draw_visits(num_queries: int, settings: ShopperSettings) -> Visits:
    """Return the visits of a whole experiment: the same settings give the same visits."""
    rng = np.random.default_rng([settings.seed, 1])
    activity = rng.gamma(ACTIVITY_SHAPE, settings.visits_a_shopper / ACTIVITY_SHAPE, settings.num_shoppers)
    shopper = np.repeat(np.arange(settings.num_shoppers), rng.poisson(activity))
    popularity = np.arange(1, num_queries + 1) ** -ZIPF
    query = rng.permutation(num_queries)[rng.choice(num_queries, len(shopper), p=popularity / popularity.sum())]
    hours = np.array(HOURS) / sum(HOURS)
    hour = rng.choice(24, len(shopper), p=hours) + 24 * rng.integers(0, settings.num_days, len(shopper))
    at_s = 3600 * (hour + rng.random(len(shopper)))
    order = np.argsort(at_s, kind="stable")
    return Visits(shopper[order], query[order], at_s[order], rng.poisson(activity))


@dataclass(frozen=True, slots=True)
class Behavior:
    """What one shopper did with the slots (K,) of one page."""

    clicked: Mask
    shallow: Mask
    deep: Mask
    value: Float64Array  # of the order, 0 where there is none


class Shoppers:
    """Draws what shoppers do. Each visit has its own random numbers, whichever system answers it."""

    def __init__(self, num_slots: int, num_ads: int, seed: int):
        self._num_slots, self._seed, self._block = num_slots, seed, -1
        self._uniform, self._noise = np.empty((0, 5, num_slots)), np.empty((0, num_slots))
        self._price = MEDIAN_PRICE * np.exp(PRICE_SPREAD * np.random.default_rng([seed, 3]).standard_normal(num_ads))

    def _draw(self, block: int) -> None:
        """Draw the numbers of one block of visits; all visits at once would take gigabytes."""
        rng = np.random.default_rng([self._seed, 2, block])
        self._block = block
        self._uniform = rng.random((_BLOCK, 5, self._num_slots))
        self._noise = rng.standard_normal((_BLOCK, self._num_slots))

    def behave(self, visit: int, ads: IntArray, grades: IntArray) -> Behavior:
        """Return what the shopper of a visit does with the ads (K,) of these grades (K,), the first slot first."""
        num, (block, at) = len(ads), divmod(visit, _BLOCK)
        if block != self._block:
            self._draw(block)
        attracts, satisfied, tired, shallow, deep = self._uniform[at, :, :num]
        would_click = attracts < ATTRACTION[grades]
        stops = (would_click & (satisfied < SATISFACTION[grades])) | (tired >= CONTINUATION)
        looks = np.cumsum(stops) - stops == 0
        clicked = would_click & looks
        converts = clicked & (shallow < SHALLOW[grades])
        buys = converts & (deep < DEEP[grades])
        value = self._price[ads] * np.exp(ORDER_SPREAD * self._noise[at, :num])
        return Behavior(clicked, converts, buys, np.where(buys, value, 0.0))
