"""A Valkey or Redis server as a cache that processes share. Down, slow or full, it costs queries next to nothing.

A read has a few milliseconds. The first that fails opens the circuit: queries then go on as if there were no cache,
without asking, until a background thread has found that the server answers in time again. The same thread writes, so
that no query waits for a write. The server is never a source of truth; it may be emptied or replaced at any moment.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, Full, Queue
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from intently.engine.cache_store import ignored
from intently.errors import MissingDependencyError, SettingsError, install_hint

logger = logging.getLogger(__name__)

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0  # before the server is tried again
_WELL_AFTER_S = 60.0  # without a failure; then the next pause is a short one
_WRITE_TIMEOUT_S = 0.25
_MAX_WAITING = 1_000  # values to be written; more are dropped
_AT_ONCE = 100  # values written in one round trip
_NOT_YET = "not reached yet"


class CacheServer:
    """The server at `url` (valkey://, redis://, with an s for TLS, unix://). Threads may share it.

    It calls `on_result` with an outcome (`skipped` while the circuit is open, `failed`, `unwritten`) and a number.
    """

    def __init__(self, url: str, *, timeout_ms: float = 5.0, keep_s: float = 86_400.0) -> None:
        """Connect in the background, whether the server is there or not.

        `timeout_ms` bounds a read, `keep_s` how long a value is kept. Raises `SettingsError` for a URL that is not
        understood, `MissingDependencyError` without the client library.
        """
        try:
            import valkey  # an optional dependency
        except ModuleNotFoundError as error:
            raise MissingDependencyError(f"a shared cache needs {error.name}; " + install_hint("valkey")) from error
        self._failures = (valkey.ValkeyError, OSError)
        self.on_result: Callable[[str, int], None] = ignored
        self._keep_ms = round(keep_s * 1000)
        parts = urlsplit(url)
        self._place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"  # without the password
        try:
            self._reads, self._writes = (
                valkey.Valkey.from_url(
                    url, socket_timeout=seconds, socket_connect_timeout=seconds, lib_name=None, lib_version=None
                )
                for seconds in (timeout_ms / 1000, max(timeout_ms / 1000, _WRITE_TIMEOUT_S))
            )
        except ValueError:  # whose text would show the URL, and a password with it
            raise SettingsError(
                f"'cache' is {self._place!r}; it takes a URL such as redis://host:6379/0, rediss://… or unix://…"
            ) from None
        self._waiting: Queue[tuple[str, bytes]] = Queue(_MAX_WAITING)
        self._problem, self._stop = _NOT_YET, threading.Event()
        self._thread = threading.Thread(target=self._run, name="intently-cache", daemon=True)
        self._thread.start()

    @property
    def problem(self) -> str:
        """Why the server is not asked now; empty while it is."""
        return f"{self._place}: {self._problem}" if self._problem else ""

    def get(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values kept under some keys, None for each that is not there or cannot be had in time."""
        nothing: list[bytes | None] = [None] * len(keys)
        if self._problem:
            self.on_result("skipped", len(keys))
            return nothing
        try:
            found: list[bytes | None] = self._reads.mget(keys)  # type: ignore[assignment]
            return found
        except self._failures as error:
            self._open(error)
            self.on_result("failed", len(keys))
            return nothing

    def put(self, key: str, value: bytes) -> None:
        """Keep a value, soon, if the server takes it."""
        if self._problem:
            return
        try:
            self._waiting.put_nowait((key, value))
        except Full:
            self.on_result("unwritten", 1)

    def close(self) -> None:
        """Write what waits if that is possible at once, and end all connections."""
        self._stop.set()
        self._thread.join(2 * _WRITE_TIMEOUT_S)
        if not self._problem:
            self._write()
        for client in (self._reads, self._writes):
            with suppress(*self._failures):
                client.close()  # type: ignore[no-untyped-call]

    def _open(self, error: Exception) -> None:
        if not self._problem:
            logger.warning("the shared cache %s is left alone: %s", self._place, error)
        self._problem = str(error) or type(error).__name__

    # On the thread.

    def _run(self) -> None:
        pause_s, well_since = 0.0, monotonic()
        while not self._stop.is_set():
            if not self._problem:
                if monotonic() - well_since > _WELL_AFTER_S:
                    pause_s = _FIRST_PAUSE_S
                self._write(wait_s=0.1)
            elif not self._stop.wait(pause_s):
                pause_s = min(max(2 * pause_s, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
                if self._answers():
                    self._problem, well_since = "", monotonic()

    def _answers(self) -> bool:
        try:
            self._reads.ping()
        except self._failures as error:
            self._open(error)
            return False
        logger.info("the shared cache %s answers", self._place)
        return True

    def _write(self, wait_s: float = 0.0) -> None:
        """Write some of what waits, in one round trip."""
        batch: list[tuple[str, bytes]] = []
        with suppress(Empty):
            batch.append(self._waiting.get(timeout=wait_s) if wait_s else self._waiting.get_nowait())
            while len(batch) < _AT_ONCE:
                batch.append(self._waiting.get_nowait())
        if not batch:
            return
        pipeline = self._writes.pipeline(transaction=False)
        for key, value in batch:
            pipeline.set(key, value, px=self._keep_ms)
        try:
            told: list[Any] = pipeline.execute(raise_on_error=False)  # type: ignore[no-untyped-call]
        except self._failures as error:
            self._open(error)
            self.on_result("unwritten", len(batch))
            return
        refused = [each for each in told if isinstance(each, Exception)]
        if refused:  # a full server, or a replica: what it has it still tells
            logger.warning("the shared cache %s keeps nothing new: %s", self._place, refused[0])
            self.on_result("unwritten", len(refused))
