"""Group commit: one thread owns the connection that writes, and whoever comes during a commit shares the next.

Nobody waits when alone. After a failure nothing more is taken until the caller has dropped what it built on the lost
batches (`reset`); after a failure of the disk itself, never again, because a second flush may lie.
"""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from intently.errors import LogBusyError, LogError, LogFullError
from intently.live.log.base import Reading, Receipt
from intently.live.log.entries import Entry

logger = logging.getLogger(__name__)

Row = tuple[Any, ...]


class Store(Protocol):
    """A connection to the tables of a log, used by one thread at a time. SQL has `?` for values."""

    def execute(self, sql: str, values: Row = ()) -> list[Row]:
        """Run one statement and return its rows."""

    def execute_many(self, sql: str, rows: list[Row]) -> None:
        """Run one statement for each row of values."""

    def transaction(self) -> AbstractContextManager[None]:
        """Return a context whose statements are on disk, all of them, once it ends; or none after an error."""

    def make_room(self) -> bool:
        """Free space that was kept back for a full disk; return whether there was any."""

    def close(self) -> None:
        """Close the connection and let go of the lock."""


@dataclass
class _Batch:
    entries: list[Entry]
    readings: list[tuple[bytes, str, Reading]]
    receipt: Receipt | None
    done: Future[None] = field(default_factory=Future)


@dataclass
class _Work:
    run: Callable[[Store], Any]
    done: Future[Any] = field(default_factory=Future)


class Committer:
    """Writes batches in their order, as many as have come in one transaction."""

    def __init__(
        self,
        store: Store,
        last: int,
        write: Callable[[Store, list[Entry], list[tuple[bytes, str, Reading]], list[Receipt]], None],
        tidy: Callable[[Store, int], None],
    ) -> None:
        """`write` adds a batch's rows; `tidy(store, last)` may remove a few superseded entries after a commit."""
        self.appended = self.durable = last
        self.failure: LogError | None = None
        self._is_final = False  # whether the failure lasts until the log is opened again
        self._store, self._write, self._tidy = store, write, tidy
        self._changed = threading.Condition()
        self._jobs: list[_Batch | _Work] = []
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="intently-log", daemon=True)
        self._thread.start()

    def append(
        self, entries: list[Entry], readings: list[tuple[bytes, str, Reading]], receipt: Receipt | None = None
    ) -> Future[None]:
        """Let a batch be written; raise `LogError` at once if an earlier one failed."""
        batch = _Batch(entries, readings, receipt)
        with self._changed:
            self._check()
            if entries and entries[0].seq != self.appended + 1:
                raise LogError(f"change {entries[0].seq} does not follow change {self.appended}", cure="try again")
            self._jobs.append(batch)
            if entries:
                self.appended = entries[-1].seq
            self._changed.notify_all()
        return batch.done

    def call(self, run: Callable[[Store], Any]) -> Any:
        """Return what `run(store)` returns, called in the thread that owns the connection, behind all batches."""
        work = _Work(run)
        with self._changed:
            self._check()
            self._jobs.append(work)
            self._changed.notify_all()
        return work.done.result()

    def reset(self, durable: int | None = None) -> int:
        """Take further batches after a failure that does not last, and return the number of the newest on disk."""
        with self._changed:
            if not self._is_final:
                self.failure = None
            self.durable = self.durable if durable is None else durable
            self.appended = self.durable
            return self.durable

    def close(self) -> None:
        """Write what has come, and close the connection."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _check(self) -> None:
        if self.failure:
            raise self.failure
        if self._closing:
            raise LogError("the log is closed", cure="open it again")

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._jobs and not self._closing:
                    self._changed.wait()
                if not self._jobs:
                    break
                num = next((at for at, job in enumerate(self._jobs) if isinstance(job, _Work)), len(self._jobs)) or 1
                jobs, self._jobs = self._jobs[:num], self._jobs[num:]
            if isinstance(jobs[0], _Work):
                self._work(jobs[0])
            else:
                self._commit([job for job in jobs if isinstance(job, _Batch)])
        self._store.close()

    def _work(self, work: _Work) -> None:
        try:
            result = work.run(self._store)
        except BaseException as error:
            work.done.set_exception(error)
        else:
            work.done.set_result(result)

    def _commit(self, batches: list[_Batch]) -> None:
        entries = [entry for batch in batches for entry in batch.entries]
        readings = [reading for batch in batches for reading in batch.readings]
        receipts = [batch.receipt for batch in batches if batch.receipt]
        try:
            try:
                self._transaction(entries, readings, receipts)
            except LogFullError:
                if not self._store.make_room():
                    raise
                self._transaction(entries, readings, receipts)
        except Exception as error:
            self._failed(batches, error)
            return
        if entries:
            self.durable = entries[-1].seq
        for batch in batches:
            batch.done.set_result(None)
        try:
            self._tidy(self._store, self.durable)
        except Exception as error:  # of any kind: nothing that was acknowledged depends on it
            logger.warning("superseded changes could not be removed from the log: %s", error)

    def _transaction(
        self, entries: list[Entry], readings: list[tuple[bytes, str, Reading]], receipts: list[Receipt]
    ) -> None:
        with self._store.transaction():
            self._write(self._store, entries, readings, receipts)

    def _failed(self, batches: list[_Batch], error: Exception) -> None:
        failure = error if isinstance(error, LogError) else LogError(f"{type(error).__name__}: {error}")
        with self._changed:
            self.failure = failure
            self._is_final = not isinstance(failure, LogFullError | LogBusyError)
            left, self._jobs = self._jobs, []
        logger.error("changes could not be written to the log: %s", failure)
        for job in (*batches, *left):
            job.done.set_exception(failure)
