"""Merges segments while queries are answered and ads change. A merge that fails is logged and tried again."""

import logging
import threading
import time
from collections.abc import Callable

from intently.live.merging import Merge, next_merge
from intently.snapshot.snapshot import Snapshot

logger = logging.getLogger(__name__)

FIRST_DELAY_S = 1.0  # after a merge that failed; doubled each time
LONGEST_DELAY_S = 60.0


class Merger:
    """Keeps the segments of the newest snapshot few. One merge runs at a time, in a thread of its own."""

    def __init__(
        self, lock: threading.RLock, current: Callable[[], Snapshot], show: Callable[[Snapshot], None]
    ) -> None:
        """`lock` protects the newest snapshot, which `current` returns and `show` replaces."""
        self._lock, self._current, self._show = lock, current, show
        self._running: Merge | None = None
        self._thread: threading.Thread | None = None
        self._not_before = 0.0
        self._num_failures = 0
        self.failure = ""

    def merge_if_needed(self) -> None:
        """Merge tiny segments, and begin the next larger merge. Call with the lock held."""
        while merge := self._next():
            if not merge.at_once:
                self._begin(merge)
                return
            snapshot = self._current()
            merged = snapshot.merged(merge.first, merge.last)
            self._show(snapshot.rebased(snapshot, merge.first, merge.last, merged))

    def wait(self) -> None:
        """Wait until the running merge has finished."""
        while thread := self._thread:
            thread.join()

    def _next(self) -> Merge | None:
        snapshot = self._current()
        # The segments that a running merge copies must stay in place; later ones may be merged among themselves.
        start = self._running.last - 1 if self._running else 0
        num_rows = [segment.num_rows for segment in snapshot.segments[start:]]
        merge = next_merge(num_rows, 0 if self._running else int((~snapshot.alive).sum()))
        if merge is None or (self._running and not merge.at_once):
            return None
        return Merge(merge.first + start, merge.last + start, merge.at_once)

    def _begin(self, merge: Merge) -> None:
        if time.monotonic() < self._not_before:
            return
        self._running = merge
        thread = threading.Thread(target=self._run, args=(self._current(), merge), name="intently-merge", daemon=True)
        thread.start()
        self._thread = thread  # only now, for whoever waits; it ends with the lock, which is held here

    def _run(self, before: Snapshot, merge: Merge) -> None:
        started = time.monotonic()
        try:
            merged = before.merged(merge.first, merge.last)
            with self._lock:
                self._show(self._current().rebased(before, merge.first, merge.last, merged))
                self._running, self._num_failures, self.failure = None, 0, ""
                self._thread = None
                self.merge_if_needed()
        except Exception as error:  # of any kind: queries go on without the merge
            self._failed(error)
        else:
            logger.info(
                "merged %d segments of %d ads in %.2f s", merge.last - merge.first, merged.num_rows,
                time.monotonic() - started,
            )  # fmt: skip

    def _failed(self, error: Exception) -> None:
        with self._lock:
            delay = min(FIRST_DELAY_S * 2**self._num_failures, LONGEST_DELAY_S)
            self._num_failures += 1
            self._not_before = time.monotonic() + delay
            self._running = self._thread = None
            self.failure = f"{type(error).__name__}: {error}"
        logger.error("a merge of segments failed; it is tried again in %.0f s", delay, exc_info=error)
        timer = threading.Timer(delay, self._again)
        timer.daemon = True
        timer.start()

    def _again(self) -> None:
        with self._lock:
            if not self._running:
                self.merge_if_needed()
