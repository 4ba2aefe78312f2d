"""How long models take on this machine, learned while queries are answered; and what a deadline leaves time for."""

from collections import deque
from statistics import median
from time import perf_counter

SOFT_SHARE = 0.7  # of a deadline; after it, no optional stage begins
_LAST = 5  # measurements that count; their median, so that one slow answer decides nothing
_FORGET = 0.98  # an estimate that forbids models shrinks, so that they are tried, and measured, again


class Pace:
    """Expected milliseconds of full answers, by the number of queries in a batch. Threads may share it."""

    def __init__(self) -> None:
        self._last: dict[int, deque[float]] = {}  # number of queries, as a power of two → measurements
        self._shrunk: dict[int, float] = {}
        self._is_warm = False

    def expected_ms(self, num_queries: int) -> float:
        """Return how long full answers to a batch would take, 0 as long as nothing is known."""
        last, size = self._last, _size(num_queries)
        if size in last:
            return self._typical(last, size)
        smaller = max((each for each in tuple(last) if each < size), default=0)
        if smaller:
            return self._typical(last, smaller) * num_queries / smaller
        return min((self._typical(last, each) for each in tuple(last)), default=0.0)

    def learn(self, num_queries: int, spent_ms: float) -> None:
        """Take in how long full answers to a batch took. The very first warms up; it counts until there is another."""
        size = _size(num_queries)
        if self._last and not self._is_warm:
            self._last, self._is_warm = {}, True
        self._last.setdefault(size, deque(maxlen=_LAST)).append(spent_ms)
        self._shrunk[size] = 1.0

    def passed_over(self, num_queries: int) -> None:
        """Note that a deadline left no time for models."""
        size = _size(num_queries)
        self._shrunk[size] = self._shrunk.get(size, 1.0) * _FORGET

    def _typical(self, last: dict[int, deque[float]], size: int) -> float:
        return median(tuple(last.get(size, ())) or (0.0,)) * self._shrunk.get(size, 1.0)


class Clock:
    """Milliseconds since a batch of requests came in."""

    def __init__(self) -> None:
        self._began = perf_counter()

    @property
    def spent_ms(self) -> float:
        """Milliseconds since the beginning."""
        return (perf_counter() - self._began) * 1000

    def is_late(self, deadline_ms: float | None) -> bool:
        """Return whether so much of a deadline has passed that no optional stage may begin."""
        return deadline_ms is not None and self.spent_ms > SOFT_SHARE * deadline_ms

    def leaves(self, deadline_ms: float | None, expected_ms: float) -> bool:
        """Return whether work of so many milliseconds may still begin."""
        return deadline_ms is None or (not self.is_late(deadline_ms) and self.spent_ms + expected_ms <= deadline_ms)


def _size(num_queries: int) -> int:
    """Return the largest power of two that is not above the number."""
    return 1 << (max(1, num_queries).bit_length() - 1)
