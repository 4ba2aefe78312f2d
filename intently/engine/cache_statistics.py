"""How often the query cache had the answer."""

import threading
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CacheStatistics:
    """How many lookups a cache has had, and how many of them it answered."""

    num_lookups: int = 0
    num_hits: int = 0

    @property
    def hit_rate(self) -> float:
        """Share of lookups that were answered, in [0, 1]; 0 before the first."""
        return self.num_hits / self.num_lookups if self.num_lookups else 0.0


class Counter:
    """Counts lookups from any number of threads; no count is lost."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._num_lookups = self._num_hits = 0

    def count(self, hit: bool) -> None:
        """Count one lookup."""
        with self._lock:
            self._num_lookups += 1
            self._num_hits += hit

    @property
    def statistics(self) -> CacheStatistics:
        """The counts at one moment."""
        with self._lock:
            return CacheStatistics(self._num_lookups, self._num_hits)

    def reset(self) -> CacheStatistics:
        """Count from zero again; return the counts until now."""
        with self._lock:
            before = CacheStatistics(self._num_lookups, self._num_hits)
            self._num_lookups = self._num_hits = 0
        return before
