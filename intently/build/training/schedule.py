"""Which source the next batch comes from (BRIDGE, section 4.2).

The first source, the clicks, is what the encoder is for; the others, made by augmentation, help it. Hence the first has
a share that the others cannot take. These weigh by how much worse they are known than when they were first met: weighed
by the error itself, as the paper has it, a source that cannot be learnt takes everything.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from intently.arrays import Float64Array
from intently.settings import check_choice, check_range

_NUM_FIRST = 10  # batches of a source that tell how well it was known when it was first met


class Order(StrEnum):
    """How sources take turns; all take the same number of steps."""

    INTERLEAVED = "interleaved"  # each batch of one source, drawn by how badly it is known
    SEQUENTIAL = "sequential"  # one after the other, an equal part of the steps each: augmentation first, clicks last
    CONCATENATED = "concatenated"  # batches of the shuffled union, of which each source has its even share


@dataclass(frozen=True)
class ScheduleSettings:
    """How sources take turns."""

    order: Order = Order.INTERLEAVED  # how sources follow one another
    first_share: float = 0.5  # of all batches, at least: that of the first source
    admission_share: float = 0.1  # of all steps: T of p(t) = min(1, t / T), which admits all sources but the first
    decay: float = 0.99  # of the moving average of a source's accuracy
    min_error: float = 0.05  # a smaller error of a source counts as this

    def __post_init__(self) -> None:
        check_choice(self, "order", Order)
        check_range(self, "first_share", "admission_share", high=1)
        check_range(self, "decay", high=0.9999)
        check_range(self, "min_error", high=1, exclusive=True)

    def shares(self, weights: Float64Array) -> Float64Array:
        """Return the shares (sources,) of sources by their weights; the first has `first_share` at least.

        With weights all alike these are the even shares, which the sources have in a concatenation.
        """
        shares: Float64Array = weights / weights.sum()
        if len(shares) > 1 and shares[0] < self.first_share:
            shares[1:] *= (1 - self.first_share) / shares[1:].sum()
            shares[0] = self.first_share
        return shares


class SourceSchedule:
    """Draws a source for each step, and learns how well each is known."""

    def __init__(self, num_sources: int, num_steps: int, settings: ScheduleSettings, seed: int) -> None:
        self._num_sources, self._num_steps, self._settings, self._seed = num_sources, num_steps, settings, seed
        # Of each source: the sum Σ decay^(n - i) · accuracy_i over its n batches, that of the first ones, and n.
        self._sums, self._first_sums = np.zeros(num_sources), np.zeros(num_sources)
        self._num_reports = np.zeros(num_sources, dtype=np.int64)

    @property
    def accuracies(self) -> Float64Array:
        """The moving average (sources,) of each source's accuracy; 0 for one that was never drawn.

        A weighted mean of what was seen, so it does not start near 0 as a bare moving average would.
        """
        decay = self._settings.decay
        weights = (1 - decay**self._num_reports) / (1 - decay)
        means: Float64Array = np.divide(self._sums, weights, out=np.zeros(self._num_sources), where=weights > 0)
        return means

    @property
    def relative_errors(self) -> Float64Array:
        """Each source's (sources,) error 1 - accuracy as a multiple of that in its first batches; 1 before these."""
        least, met = self._settings.min_error, self._num_reports > 0
        first = 1 - self._first_sums / np.maximum(np.minimum(self._num_reports, _NUM_FIRST), 1)
        return np.where(met, np.maximum(1 - self.accuracies, least) / np.maximum(first, least), 1.0)

    def probabilities(self, step: int) -> Float64Array:
        """Return the probability (sources,) that step's batch is of each source.

        Interleaved, sources weigh by their relative errors; those after the first get p(t) of their share, and the
        first what they leave.
        """
        settings, num = self._settings, self._num_sources
        if settings.order is Order.SEQUENTIAL:
            only: Float64Array = np.eye(num)[(step * num // self._num_steps + 1) % num]
            return only
        shares = settings.shares(self.relative_errors)
        shares[1:] *= min(1.0, step / max(settings.admission_share * self._num_steps, 1e-9))
        shares[0] = 1 - shares[1:].sum()
        return shares

    def draw(self, step: int) -> int:
        """Return the source of a step's batch, drawn from (seed, step) and what was reported so far."""
        below = np.cumsum(self.probabilities(step))
        point = np.random.default_rng((self._seed, 4, step)).random()
        return min(int(np.searchsorted(below, point, side="right")), self._num_sources - 1)

    def report(self, source: int, accuracy: float) -> None:
        """Take in the accuracy in [0, 1] of a batch of a source."""
        self._sums[source] = self._settings.decay * self._sums[source] + accuracy
        if self._num_reports[source] < _NUM_FIRST:
            self._first_sums[source] += accuracy
        self._num_reports[source] += 1

    @property
    def num_drawn(self) -> NDArray[np.int64]:
        """Number of batches (sources,) reported of each source."""
        return self._num_reports.copy()

    def state(self) -> dict[str, list[float]]:
        """Return what a checkpoint must hold."""
        return {
            "sums": self._sums.tolist(),
            "first_sums": self._first_sums.tolist(),
            "num_reports": self._num_reports.astype(np.float64).tolist(),
        }

    def restore(self, state: dict[str, list[float]]) -> None:
        """Take up what `state` gave."""
        self._sums = np.array(state["sums"], dtype=np.float64)
        self._first_sums = np.array(state["first_sums"], dtype=np.float64)
        self._num_reports = np.array(state["num_reports"], dtype=np.int64)
