"""What happened on the simulated search pages: how often each query was asked, and which ads were clicked.

A query shows a slate of ads; a click follows from grade, quality, position and the ad's heavy-tailed popularity.
Two facts about real logs are met by calibrating the distributions before anything is drawn from them: the exponent of
the requests' Zipf law gives the head its share of the requests, and the spread of the ads' popularity leaves most ads
with few clicks.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from intently.arrays import Float64Array
from intently.lab.world.draw import Queries
from intently.lab.world.latent import NONE, Intents, Ints, Market, Offers, Rows, grade
from intently.lab.world.queries import Style

HEAD, HEAD_SHARE = 0.05, 0.60  # the most frequent 5% of queries make 60% of the requests
REQUESTS_PER_QUERY = 20
FEW_CLICKS, FEW_SHARE = 5, 0.73  # 73% of ads have fewer than 5 clicks
PAIRS_PER_AD = 4.0
SLATE = 16  # draws for one query's slate; an ad drawn again is not shown again
NOISE_DRAWS = 1  # of them from the whole vertical, relevant or not
GAIN = np.array([0.02, 0.08, 0.5, 1.0])  # how much a click is likelier, by grade
POSITION_BIAS = 0.7  # the position's exponent
EXPOSURE_SPREAD = 1.0  # standard deviation of the logarithm of how readily an ad is shown
_WIDEST = 5.0  # spread of the logarithm of popularity
_CHUNK = 65_536


@dataclass(frozen=True, slots=True)
class Slates:
    """Which ads were shown for which queries, and how strongly each drew clicks, were all ads equally popular."""

    query: Ints
    ad: Ints
    appeal: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Clicks:
    """Clicked pairs, ordered by query, with their numbers of clicks (at least 1)."""

    query: Ints
    ad: Ints
    count: Rows


def sample_requests(queries: Queries, rng: np.random.Generator) -> Rows:
    """Return how often each query was asked: Zipf-like over ranks, where broad and plain queries tend to rank high."""
    num = len(queries)
    extra = num * (REQUESTS_PER_QUERY - 1)
    exponent = solve_increasing(lambda s: _head_share(zipf_means(num, extra, s)), HEAD_SHARE, 0.1, 3.0)
    breadth = rng.gumbel(size=num) - 1.0 * queries.intents.constraints() + 0.7 * (queries.styles == Style.PLAIN)
    requests = np.empty(num, np.int64)
    requests[np.argsort(-breadth, kind="stable")] = 1 + rng.poisson(zipf_means(num, extra, exponent) - 1)
    return requests


def zipf_means(num: int, extra: int, exponent: float) -> Float64Array:
    """Return the expected requests by rank: one each, as the log knows only asked queries, and `extra` by Zipf."""
    weight: Float64Array = np.arange(1, num + 1, dtype=np.float64) ** -exponent
    return np.asarray(1.0 + extra * weight / weight.sum())


def sample_clicks(market: Market, offers: Offers, queries: Queries, requests: Rows, rng: np.random.Generator) -> Clicks:
    """Draw the clicks of a whole log.

    The spread of popularity is calibrated to leave `FEW_SHARE` of the ads with fewer than `FEW_CLICKS` clicks, and the
    click-through rate to give `PAIRS_PER_AD` clicked pairs an ad (or half of the pairs shown, where a small world shows
    too few). Where no spread up to `_WIDEST` reaches the first target, the nearest is taken.
    """
    num_ads = len(offers)
    taste = rng.normal(size=num_ads)
    slates = _show(market, offers, queries.intents, np.exp(EXPOSURE_SPREAD * taste) * offers.quality, rng)
    asked = requests.astype(np.int32)[slates.query]
    pairs = min(PAIRS_PER_AD * num_ads, 0.5 * len(asked))

    def appeal(spread: float) -> Float64Array:
        """Return x for each pair shown; a request brings a click with probability 1 - exp(-x)."""
        relative = np.asarray(slates.appeal * np.exp(spread * taste)[slates.ad], np.float64)
        return relative * _scale(asked * relative, pairs)

    def share(spread: float) -> float:
        clicks = np.bincount(slates.ad, weights=asked * -np.expm1(-appeal(spread)), minlength=num_ads)
        return float(_poisson_below(FEW_CLICKS, np.asarray(clicks)).mean())

    spread = solve_increasing(share, FEW_SHARE, 0.0, _WIDEST, tolerance=0.001)
    count = rng.binomial(asked, -np.expm1(-appeal(spread)))
    clicked = np.flatnonzero(count)
    return Clicks(slates.query[clicked], slates.ad[clicked], count[clicked])


def solve_increasing(
    function: Callable[[float], float], target: float, low: float, high: float, *, tolerance: float = 1e-6
) -> float:
    """Return where an increasing `function` reaches `target` between `low` and `high`, or the nearer end if nowhere."""
    at_low, at_high = function(low), function(high)
    if not at_low < target < at_high:
        return low if target <= at_low else high
    while True:
        middle = (low + high) / 2
        value = function(middle)
        if abs(value - target) <= tolerance or high - low < 1e-9:
            return middle
        low, high = (middle, high) if value < target else (low, middle)


def _head_share(requests: Float64Array) -> float:
    head = max(1, round(HEAD * len(requests)))
    return float(requests[:head].sum() / requests.sum())


def _show(market: Market, offers: Offers, intents: Intents, exposure: Float64Array, rng: np.random.Generator) -> Slates:
    """Draw the slates: half from the ads of the type, half of the brand too if one is asked for, a little noise.

    The draws are the order shown, so an ad of high `exposure` is seen higher up.
    """
    # Ads sorted by (type, brand) make every vertical, type and brand one interval of the cumulated exposure.
    width = int(market.brands.max())
    code = offers.type.astype(np.int64) * width + offers.brand
    order = np.argsort(code, kind="stable")
    bounds = np.searchsorted(code[order], np.arange(len(market.vertical) * width + 1))
    mass = np.concatenate([[0.0], np.cumsum(exposure[order])])
    first_type = np.searchsorted(market.vertical, np.arange(len(market.brands) + 1)) * width
    parts = []
    for start in range(0, len(intents), _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, len(intents)))
        kind, brand = intents.type[rows].astype(np.int64) * width, intents.brand[rows]
        vertical = market.vertical[intents.type[rows]]
        narrow = np.stack([kind + np.maximum(brand, 0), kind + np.where(brand == NONE, width, brand + 1)], axis=1)
        wide = np.stack([kind, kind + width], axis=1)
        whole = np.stack([first_type[vertical], first_type[vertical + 1]], axis=1)
        source = np.stack([narrow, wide] * (SLATE // 2), axis=1)
        source[:, SLATE - NOISE_DRAWS :] = whole[:, None]
        low, high = mass[bounds[source[..., 0]]], mass[bounds[source[..., 1]]]
        place = np.searchsorted(mass, low + rng.random(low.shape) * (high - low), side="right") - 1
        ad = order[np.minimum(place, len(order) - 1)]
        # An ad drawn twice is shown once, at its first position: a stable sort keeps the first of equals in front.
        position = np.argsort(ad, axis=1, kind="stable")
        ad = np.take_along_axis(ad, position, axis=1)
        first = np.ones(ad.shape, np.bool_)
        first[:, 1:] = ad[:, 1:] != ad[:, :-1]
        query = np.repeat(rows, first.sum(axis=1))
        shown = ad[first]
        seen = (1.0 + position[first]) ** -POSITION_BIAS
        gain = GAIN[grade(market, intents, offers, query, shown)]
        appeal = seen * gain * offers.quality[shown]
        parts.append((query.astype(np.int32), shown.astype(np.int32), appeal.astype(np.float32)))
    return Slates(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _scale(rate: Float64Array, pairs: float) -> float:
    """Return the factor on the rates of clicks that leaves `pairs` of them not at 0, in expectation."""
    factor = pairs / float(rate.sum())
    # The expected number is concave in the factor and starts below the target: no step of Newton's method overshoots.
    for _ in range(100):
        silent = np.exp(-factor * rate)
        missing = pairs - (len(rate) - float(silent.sum()))
        if abs(missing) < 1e-6 * pairs:
            break
        factor += missing / float((silent * rate).sum())  # not `@`: its rounding depends on the number of threads
    return factor


def _poisson_below(count: int, mean: Float64Array) -> Float64Array:
    """Return the probability of fewer than `count` events, for each mean."""
    term = np.exp(-mean)
    total = term.copy()
    for number in range(1, count):
        term = term * mean / number
        total += term
    return total
