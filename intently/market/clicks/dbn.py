"""The dynamic Bayesian network: people look from top to bottom, click what attracts, and stop when satisfied.

At each position: an item that is looked at is clicked with its attraction; a clicked item satisfies with its
satisfaction, and who is satisfied stops; who is not goes on with the continuation probability. Source: Chapelle and
Zhang, "A Dynamic Bayesian Network Click Model for Web Search Ranking", WWW 2009.
"""

from dataclasses import dataclass

import numpy as np

from intently.arrays import Float64Array, IntArray, Mask
from intently.market.clicks.sessions import Sessions, item_sums, ratio


@dataclass(frozen=True, slots=True)
class DynamicBayesianNetwork:
    """A DBN: attraction (I,) and satisfaction (I,) of items, and the continuation probability."""

    attraction: Float64Array
    satisfaction: Float64Array
    continuation: float

    def click_probabilities(self, items: IntArray) -> Float64Array:
        """Return how probably each position (S, K) is clicked."""
        attraction = self.attraction[items]
        goes_on = self.continuation * (1 - attraction * self.satisfaction[items])
        looked = np.concatenate([np.ones((len(items), 1)), np.cumprod(goes_on, axis=1)[:, :-1]], axis=1)
        return np.asarray(attraction * looked)

    def conditional_probabilities(self, sessions: Sessions) -> Float64Array:
        """Return how probably each position (S, K) is clicked, given the clicks above it."""
        attraction, satisfaction = self.attraction[sessions.items], self.satisfaction[sessions.items]
        probability = np.empty(attraction.shape)
        looks = np.ones(len(attraction))
        for position in range(attraction.shape[1]):
            attracts = attraction[:, position]
            probability[:, position] = attracts * looks
            silent = looks * (1 - attracts) / np.maximum(1 - attracts * looks, 1e-300)
            clicked = 1 - satisfaction[:, position]
            looks = self.continuation * np.where(sessions.clicks[:, position], clicked, silent)
        return probability

    def simulate(self, items: IntArray, rng: np.random.Generator) -> Mask:
        """Return clicks (S, K) drawn by the model."""
        attracts = rng.random(items.shape) < self.attraction[items]
        satisfied = rng.random(items.shape) < self.satisfaction[items]
        goes_on = rng.random(items.shape) < self.continuation
        on = goes_on & ~(attracts & satisfied)
        looked = np.concatenate(
            [np.ones((len(items), 1), np.bool_), np.logical_and.accumulate(on, axis=1)[:, :-1]], axis=1
        )
        return np.asarray(attracts & looked)


def fit_dbn(sessions: Sessions, *, iterations: int = 300, tolerance: float = 1e-5) -> DynamicBayesianNetwork:
    """Return the network that explains the sessions best, by expectation maximization.

    Stops when no parameter moves by more than `tolerance`. Items never looked at, or never clicked, get 0.5. Cost: an
    iteration passes over the sessions once.

    Up to the last click everybody has looked and was not satisfied before it. After it there are three explanations:
    satisfied, gone without being satisfied, or still looking at items that do not attract. They are weighed by
    `silence[k]`, the probability that somebody who looks at position k clicks nothing from there on.
    """
    items, clicks = sessions.items, sessions.clicks
    num_items, num_positions = sessions.num_items, items.shape[1]
    at = np.arange(num_positions)
    has_click = clicks.any(axis=1)
    last = np.where(has_click, num_positions - 1 - np.argmax(clicks[:, ::-1], axis=1), -1)
    before_last = at < last[:, None]
    is_last = at == last[:, None]
    clicked = item_sums(items, clicks.astype(np.float64), num_items)
    attraction, satisfaction, continuation = np.full(num_items, 0.5), np.full(num_items, 0.5), 0.5
    for _ in range(iterations):
        attracts, satisfies = attraction[items], satisfaction[items]
        silence = np.ones((len(items), num_positions + 1))
        for k in range(num_positions - 1, -1, -1):
            silence[:, k] = (1 - attracts[:, k]) * (1 - continuation + continuation * silence[:, k + 1])
        # Nobody can go on after the last position, and nothing tells whether they would.
        on = continuation * silence[:, 1:]
        quiet = 1 - continuation + on
        satisfied = np.where(is_last, satisfies / (satisfies + (1 - satisfies) * quiet), 0.0)
        goes_on = on / quiet  # probability of having gone on, for who looked, was not satisfied, and clicked no more
        looked = np.where(before_last | is_last, 1.0, 0.0)
        looked[:, 0] = 1.0
        for k in range(1, num_positions):
            here = looked[:, k - 1] * (1 - satisfied[:, k - 1]) * goes_on[:, k - 1]
            looked[:, k] = np.where(looked[:, k] == 1.0, 1.0, here)
        could_go_on = (looked * (1 - satisfied))[:, :-1]
        went_on = looked[:, 1:]
        new_attraction = ratio(clicked, item_sums(items, looked, num_items), 0.5)
        new_satisfaction = ratio(item_sums(items, satisfied, num_items), clicked, 0.5)
        new_continuation = float(went_on.sum() / could_go_on.sum()) if could_go_on.size else 0.5
        moved = max(
            np.abs(new_attraction - attraction).max(),
            np.abs(new_satisfaction - satisfaction).max(),
            abs(new_continuation - continuation),
        )
        attraction, satisfaction, continuation = new_attraction, new_satisfaction, new_continuation
        if moved < tolerance:
            break
    return DynamicBayesianNetwork(attraction, satisfaction, continuation)
