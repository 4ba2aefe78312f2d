"""Sessions: which ads were shown at which positions, and which were clicked; and how well a model predicts them."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from intently.arrays import Float64Array, IntArray, Mask
from intently.errors import InputError

SMALLEST = 1e-6  # probability that a fitted model gives to what it has never seen


@dataclass(frozen=True, slots=True)
class Sessions:
    """Shown items (S, K) and clicks (S, K), the first position first.

    An item is a number from 0: an ad, or a pair of a query and an ad, whatever one attractiveness belongs to. Raises
    `InputError` for other shapes and for numbers below 0.
    """

    items: IntArray
    clicks: Mask

    def __post_init__(self) -> None:
        items, clicks = np.asarray(self.items), np.asarray(self.clicks)
        if items.ndim != 2 or items.shape != clicks.shape or not items.size:
            told = f"got items {items.shape} and clicks {clicks.shape}"
            raise InputError(told, cure="pass two arrays (sessions, positions)", field="items")
        if items.dtype.kind not in "iu" or items.min() < 0:
            raise InputError("items are no numbers from 0", cure="number the items from 0", field="items")
        object.__setattr__(self, "items", items.astype(np.int64, copy=False))
        object.__setattr__(self, "clicks", clicks.astype(np.bool_, copy=False))

    @property
    def num_items(self) -> int:
        """Return the largest number of an item, plus one."""
        return int(self.items.max()) + 1


class ClickModel(Protocol):
    """What every click model can do."""

    def click_probabilities(self, items: IntArray) -> Float64Array:
        """Return how probably each position (S, K) is clicked, if nothing is known about the others."""
        ...

    def conditional_probabilities(self, sessions: Sessions) -> Float64Array:
        """Return how probably each position (S, K) is clicked, if the clicks above it are known."""
        ...

    def simulate(self, items: IntArray, rng: np.random.Generator) -> Mask:
        """Return clicks (S, K) drawn by the model."""
        ...


def log_likelihood(model: ClickModel, sessions: Sessions) -> float:
    """Return the mean log-likelihood of a session, natural logarithm; -inf if the model rules one out."""
    probability = model.conditional_probabilities(sessions)
    with np.errstate(divide="ignore"):
        each = np.log(np.where(sessions.clicks, probability, 1 - probability))
    return float(each.sum(axis=1).mean())


def perplexity(model: ClickModel, sessions: Sessions) -> Float64Array:
    """Return the perplexity of each position (K,): 1 is perfect, 2 is a coin.

    Two to the power of the mean surprise in bits, of predictions that know no click of the session. Source: Dupret and
    Piwowarski, SIGIR 2008.
    """
    probability = model.click_probabilities(sessions.items)
    with np.errstate(divide="ignore"):
        surprise = -np.log2(np.where(sessions.clicks, probability, 1 - probability))
    return np.asarray(2.0 ** surprise.mean(axis=0), np.float64)


def item_sums(items: IntArray, values: Float64Array, num_items: int) -> Float64Array:
    """Return the sum (I,) of `values` over each item."""
    return np.asarray(np.bincount(items.ravel(), weights=values.ravel(), minlength=num_items), np.float64)


def ratio(part: Float64Array, whole: Float64Array, unknown: float) -> Float64Array:
    """Return part / whole as probabilities inside (0, 1), `unknown` where there is no whole."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.where(whole > 0, part / whole, unknown)
    return np.clip(found, SMALLEST, 1 - SMALLEST)
