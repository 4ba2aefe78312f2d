"""The position-based model: a click needs a look at the position and an item that attracts, independently.

P(click at k) = examination[k] x attraction[item]. Only the product shows in clicks, so the first position's examination
is 1 by convention. Source: Richardson, Dominowska and Ragno, WWW 2007; Craswell et al., WSDM 2008.
"""

from dataclasses import dataclass

import numpy as np

from intently.arrays import Float64Array, IntArray, Mask
from intently.market.clicks.sessions import Sessions, item_sums, ratio


@dataclass(frozen=True, slots=True)
class PositionBased:
    """A position-based model: examination (K,), 1 at the first position, and attraction (I,)."""

    examination: Float64Array
    attraction: Float64Array

    def click_probabilities(self, items: IntArray) -> Float64Array:
        """Return how probably each position (S, K) is clicked."""
        return np.asarray(self.attraction[items] * self.examination[: items.shape[1]])

    def conditional_probabilities(self, sessions: Sessions) -> Float64Array:
        """Return the same: the clicks above tell nothing."""
        return self.click_probabilities(sessions.items)

    def simulate(self, items: IntArray, rng: np.random.Generator) -> Mask:
        """Return clicks (S, K) drawn by the model."""
        return rng.random(items.shape) < self.click_probabilities(items)


def fit_position_based(sessions: Sessions, *, iterations: int = 500, tolerance: float = 1e-6) -> PositionBased:
    """Return the model that explains the sessions best, by expectation maximization.

    Stops when no parameter moves by more than `tolerance`. Items never seen get an attraction of 0.5. The items have to
    be shown at several positions: else nobody can tell an unattractive item from a position nobody looks at. Cost: one
    pass over the sessions, then one over the distinct pairs of item and position an iteration.
    """
    num_positions, num_items = sessions.items.shape[1], sessions.num_items
    pairs = sessions.items * num_positions + np.arange(num_positions)
    # Clicks and impressions by item and position are all that this model needs of the sessions.
    known, place = np.unique(pairs, return_inverse=True)
    item, position = known // num_positions, known % num_positions
    shown = np.bincount(place.ravel()).astype(np.float64)
    clicked = item_sums(place, sessions.clicks.astype(np.float64), len(known))
    examination, attraction = np.full(num_positions, 0.5), np.full(num_items, 0.5)
    shown_at = item_sums(position, shown, num_positions)
    clicks_of = item_sums(item, clicked, num_items)
    for _ in range(iterations):
        looks, attracts = examination[position], attraction[item]
        # Expected looks: a click is one; without a click, as far as the item explains the silence.
        looked = clicked + (shown - clicked) * looks * (1 - attracts) / (1 - looks * attracts)
        new_attraction = ratio(clicks_of, item_sums(item, looked, num_items), 0.5)
        new_examination = ratio(item_sums(position, looked, num_positions), shown_at, 0.5)
        moved = max(np.abs(new_examination - examination).max(), np.abs(new_attraction - attraction).max())
        examination, attraction = new_examination, new_attraction
        if moved < tolerance:
            break
    first, seen = examination[0], np.bincount(item, minlength=num_items) > 0
    return PositionBased(np.minimum(examination / first, 1.0), np.where(seen, attraction * first, 0.5))
