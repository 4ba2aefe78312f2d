"""Where a query's milliseconds went."""

from collections.abc import Callable
from time import perf_counter


class timed:
    """Adds the milliseconds spent in a block to `timings[stage]`."""

    def __init__(self, timings: dict[str, float], stage: str, clock: Callable[[], float] = perf_counter) -> None:
        self._timings, self._stage, self._clock = timings, stage, clock

    def __enter__(self) -> None:
        self._start = self._clock()

    def __exit__(self, *_: object) -> None:
        spent = (self._clock() - self._start) * 1000
        self._timings[self._stage] = self._timings.get(self._stage, 0.0) + spent
