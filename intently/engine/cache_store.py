"""Where the runtime cache keeps what it has: the memory of the process, or a server (`cache_server`)."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol


class CacheStore(Protocol):
    """Keeps values by keys, as long as it likes. Threads may share it; nothing that it does raises an error.

    The store calls `on_result` with an outcome and the number of queries that had it.
    """

    on_result: Callable[[str, int], None]

    @property
    def problem(self) -> str:
        """Why the store is not asked now; empty while it is."""

    def get(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values kept under some keys, None for each that is not there."""

    def put(self, key: str, value: bytes) -> None:
        """Keep a value, if that is possible. Returns at once."""

    def close(self) -> None:
        """End what the store began."""


def ignored(result: str, num: int) -> None:
    """Count nothing."""


class MemoryStore:
    """Keeps the values that were used last in the memory of the process."""

    problem = ""

    def __init__(self, max_values: int) -> None:
        self.on_result: Callable[[str, int], None] = ignored
        self._max_values = max_values
        self._values: OrderedDict[str, bytes] = OrderedDict()  # the one used last is last
        self._lock = threading.Lock()

    def get(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values kept under some keys, None for each that is not there."""
        with self._lock:
            found = [self._values.get(key) for key in keys]
            for key, value in zip(keys, found, strict=True):
                if value is not None:
                    self._values.move_to_end(key)
        return found

    def put(self, key: str, value: bytes) -> None:
        """Keep a value in the place of the one that was not used for the longest time."""
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > self._max_values:
                self._values.popitem(last=False)

    def close(self) -> None:
        """Forget all values."""
        with self._lock:
            self._values.clear()
