"""Which queries come most often: those that a new generation should know before it answers."""

import threading
from collections import Counter
from collections.abc import Iterable
from heapq import nlargest

_MAX_COUNTED = 4_096  # distinct queries


class HeadQueries:
    """Counts queries in bounded memory: when it is full, all counts are halved. Threads may share it."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def count(self, queries: Iterable[str]) -> None:
        """Count each of some queries once."""
        with self._lock:
            self._counts.update(queries)
            while len(self._counts) > _MAX_COUNTED:
                self._counts = Counter({query: num // 2 for query, num in self._counts.items() if num > 1})

    def most(self, num: int) -> list[str]:
        """Return the `num` most frequent queries, the most frequent first."""
        with self._lock:
            return [query for query, _ in nlargest(num, self._counts.items(), key=lambda item: (item[1], item[0]))]
