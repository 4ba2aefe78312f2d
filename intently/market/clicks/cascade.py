"""The cascade model: people look from top to bottom and stop at the first item that attracts them.

Source: Craswell, Zoeter, Taylor and Ramsey, "An experimental comparison of click position-bias models", WSDM 2008.
"""

from dataclasses import dataclass

import numpy as np

from intently.arrays import Float64Array, IntArray, Mask
from intently.market.clicks.sessions import Sessions, item_sums, ratio


@dataclass(frozen=True, slots=True)
class Cascade:
    """A cascade model: attraction (I,). A session has one click at most."""

    attraction: Float64Array

    def click_probabilities(self, items: IntArray) -> Float64Array:
        """Return how probably each position (S, K) is clicked."""
        attraction = self.attraction[items]
        passed = np.cumprod(1 - attraction, axis=1)
        looked = np.concatenate([np.ones((len(items), 1)), passed[:, :-1]], axis=1)
        return np.asarray(attraction * looked)

    def conditional_probabilities(self, sessions: Sessions) -> Float64Array:
        """Return how probably each position (S, K) is clicked, given those above: 0 after a click."""
        return np.where(_looked(sessions.clicks), self.attraction[sessions.items], 0.0)

    def simulate(self, items: IntArray, rng: np.random.Generator) -> Mask:
        """Return clicks (S, K) drawn by the model."""
        attracts = rng.random(items.shape) < self.attraction[items]
        return attracts & _looked(attracts)


def fit_cascade(sessions: Sessions) -> Cascade:
    """Return the model that explains the sessions best: clicks over looks, up to each session's first click.

    Later clicks, which this model does not know, are left out. Items never looked at get an attraction of 0.5.
    """
    looked = _looked(sessions.clicks)
    looks = item_sums(sessions.items, looked.astype(np.float64), sessions.num_items)
    clicks = item_sums(sessions.items, (sessions.clicks & looked).astype(np.float64), sessions.num_items)
    return Cascade(ratio(clicks, looks, 0.5))


def _looked(clicks: Mask) -> Mask:
    """Return which positions come not after a click."""
    return np.cumsum(clicks, axis=1) - clicks == 0
