"""Which source the next batch comes from (BRIDGE, section 4.2)."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from intently.settings import check_choice, check_range

FloatArray = NDArray[np.float64]


class Order(StrEnum):
    """How sources take turns; all take the same number of steps."""

    INTERLEAVED = "interleaved"  # each batch of one source, drawn by how badly it is known
    SEQUENTIAL = "sequential"  # one source after the other, an equal part of the steps each
    CONCATENATED = "concatenated"  # batches of the shuffled union


@dataclass(frozen=True)
class ScheduleSettings:
    """How sources take turns."""

    order: Order = Order.INTERLEAVED
    admission_share: float = 0.1  # of all steps: T of p(t) = min(1, t / T), which admits all sources but the first
    decay: float = 0.99  # of the moving average of a source's accuracy
    min_error: float = 0.05  # a source known better than this keeps the weight it has here

    def __post_init__(self) -> None:
        check_choice(self, "order", Order)
        check_range(self, "admission_share", high=1)
        check_range(self, "decay", high=0.9999)
        check_range(self, "min_error", high=1, exclusive=True)


class SourceSchedule:
    """Draws a source for each step, and learns how well each is known."""

    def __init__(self, num_sources: int, num_steps: int, settings: ScheduleSettings, seed: int) -> None:
        self._num_sources, self._num_steps, self._settings, self._seed = num_sources, num_steps, settings, seed
        # Of each source: the sum Σ decay^(n - i) · accuracy_i over its n batches, and n.
        self._sums = np.zeros(num_sources)
        self._num_reports = np.zeros(num_sources, dtype=np.int64)

    @property
    def accuracies(self) -> FloatArray:
        """The moving average (sources,) of each source's accuracy; 0 for one that was never drawn.

        A weighted mean of what was seen, so it does not start near 0 as a bare moving average would.
        """
        decay = self._settings.decay
        weights = (1 - decay**self._num_reports) / (1 - decay)
        means: FloatArray = np.divide(self._sums, weights, out=np.zeros(self._num_sources), where=weights > 0)
        return means

    def probabilities(self, step: int) -> FloatArray:
        """Return the probability (sources,) that step's batch is of each source.

        Interleaved, sources weigh by their error 1 - accuracy; those after the first get p(t) of their share, and the
        first what they leave.
        """
        settings, num = self._settings, self._num_sources
        if settings.order is Order.SEQUENTIAL:
            only: FloatArray = np.eye(num)[step * num // self._num_steps]
            return only
        errors = np.maximum(1 - self.accuracies, settings.min_error)
        shares: FloatArray = errors / errors.sum()
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
        self._num_reports[source] += 1

    @property
    def num_drawn(self) -> NDArray[np.int64]:
        """Number of batches (sources,) reported of each source."""
        return self._num_reports.copy()

    def state(self) -> dict[str, list[float]]:
        """Return what a checkpoint must hold."""
        return {"sums": self._sums.tolist(), "num_reports": self._num_reports.astype(np.float64).tolist()}

    def restore(self, state: dict[str, list[float]]) -> None:
        """Take up what `state` gave."""
        self._sums = np.array(state["sums"], dtype=np.float64)
        self._num_reports = np.array(state["num_reports"], dtype=np.int64)
