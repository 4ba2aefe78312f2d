"""How long models take on this machine, learned while queries are answered; and what a deadline leaves time for."""

from time import perf_counter

SOFT_SHARE = 0.7  # of a deadline; after it, no optional stage begins
_NEWEST = 0.2  # weight of the newest measurement
_FORGET = 0.98  # an estimate that forbids models shrinks, so that they are tried, and measured, again


class Pace:
    """Expected milliseconds of full answers, by the number of queries in a batch. Threads may share it."""

    def __init__(self) -> None:
        self._ms: dict[int, float] = {}  # number of queries, as a power of two → milliseconds

    def expected_ms(self, num_queries: int) -> float:
        """Return how long full answers to a batch would take, 0 as long as nothing is known."""
        size = _size(num_queries)
        known = self._ms.get(size)
        if known is not None:
            return known
        smaller = [each for each in self._ms if each < size]
        if smaller:
            return self._ms[max(smaller)] * num_queries / max(smaller)
        return min(self._ms.values(), default=0.0)

    def learn(self, num_queries: int, spent_ms: float) -> None:
        """Take in how long full answers to a batch took."""
        size = _size(num_queries)
        self._ms[size] = spent_ms + (1 - _NEWEST) * (self._ms.get(size, spent_ms) - spent_ms)

    def passed_over(self, num_queries: int) -> None:
        """Note that a deadline left no time for models."""
        size = _size(num_queries)
        if size in self._ms:
            self._ms[size] *= _FORGET


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
