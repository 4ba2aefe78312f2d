"""A log in tables: what SQLite and PostgreSQL share."""

import threading
import weakref
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from intently.errors import LogError
from intently.live.log.base import Backup, Facts, Position, Reading, Receipt, Recovered, Verified
from intently.live.log.committer import Committer, Row, Store
from intently.live.log.compaction import Tidy, drop, fold
from intently.live.log.entries import Entry, Kind
from intently.live.log.tables import (
    COLUMNS,
    PAGE,
    checked_entry,
    position_of,
    problems_of,
    receipt_of,
    replace_rows,
    write_rows,
)


class Backend(Protocol):
    """Where the tables are."""

    place: str
    kind: str
    recovered: Recovered | None

    def reader(self) -> AbstractContextManager[Store | None]:
        """Return a connection that cannot write, for one thread; None if there is no log yet."""

    def writer(self) -> Store:
        """Return the one connection that writes, with tables; raise `LogBusyError` if another process has it."""

    def check_room(self, is_essential: bool) -> None:
        """Raise `LogFullError` if the disk has no room for a batch."""

    def version(self, store: Store | None) -> str:
        """Return the version of the library or the server; without a log, that of a server is not known."""

    def num_bytes(self, store: Store) -> int:
        """Return the space that the log takes."""

    def damage(self, store: Store) -> list[str]:
        """Return what the library finds damaged."""

    def shrink(self, store: Store) -> None:
        """Give free space back to the disk."""

    def close(self) -> None:
        """Close connections that read."""


class SqlLog:
    """A log in the tables of a backend. Implements `ChangeLog`."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._owning = threading.Lock()
        self._committer: Committer | None = None
        self._finalizer: Any = None

    @property
    def place(self) -> str:
        """Where the log lies, without secrets."""
        return self._backend.place

    @property
    def is_owned(self) -> bool:
        """Whether this process writes into the log."""
        return self._committer is not None

    @property
    def recovered(self) -> Recovered | None:
        """What was found damaged when the log was opened for writing."""
        return self._backend.recovered

    @property
    def appended(self) -> int:
        """The number of the newest change that this process gave to the log."""
        return self._committer.appended if self._committer else 0

    @property
    def durable(self) -> int:
        """The number of the newest change that is on disk, as far as this process wrote it."""
        return self._committer.durable if self._committer else 0

    @property
    def failure(self) -> LogError | None:
        """Why nothing is taken before `reset`, or at all; None as long as everything is well."""
        return self._committer.failure if self._committer else None

    def own(self, at_least: int = 0) -> None:
        """Become the one process that writes; raise `LogBusyError` if another one does."""
        with self._owning:
            if self._committer is None:
                store = self._backend.writer()
                try:
                    position = position_of(store)
                except BaseException:
                    store.close()
                    raise
                committer = Committer(store, position.last, write_rows, Tidy().tidy)
                self._committer = committer
                self._finalizer = weakref.finalize(self, Committer.close, committer)
            committer = self._committer
            if at_least > committer.appended and committer.appended == committer.durable:
                committer.reset(at_least)

    def append(
        self,
        entries: Sequence[Entry],
        readings: Mapping[bytes, Reading],
        models: str,
        receipt: Receipt | None = None,
    ) -> Future[None]:
        """Add one batch, and its receipt; the result is there once it is on disk."""
        committer = self._writing()
        self._backend.check_room(all(entry.is_essential for entry in entries))
        rows = [(content, models, each) for content, each in readings.items()]
        return committer.append(list(entries), rows, receipt)

    def receipt(self, sender: str, key: str) -> Receipt | None:
        """Return the receipt that was kept for a sender's key, None if there is none or it has expired."""
        found: Receipt | None = self._writing().call(lambda store: receipt_of(store, sender, key))
        return found

    def reset(self) -> int:
        """Take further batches after one that failed, and return the number of the newest on disk."""
        return self._writing().reset()

    def flush(self) -> None:
        """Wait until all that was appended is on disk, or has failed."""
        if self._committer and not self._committer.failure:
            self._committer.append([], []).result()

    def add_readings(self, readings: Mapping[bytes, Reading], models: str) -> None:
        """Keep what other models made of texts that are in the log already."""
        if readings:
            self._writing().append([], [(content, models, each) for content, each in readings.items()]).result()

    def position(self) -> Position:
        """Return where the log stands on disk."""
        with self._backend.reader() as store:
            return position_of(store) if store else Position("", 0, 0)

    def entries(self, after: int, models: str) -> Iterator[list[tuple[Entry, Reading | None]]]:
        """Yield lists of the entries behind `after` in order, whole batches each, with their readings."""
        position = self.position()
        if after < position.floor:
            raise LogError(
                f"changes up to {position.floor} were removed, and change {after + 1} is needed",
                cure="load a newer generation, or restore a backup of the log", path=self.place,
            )  # fmt: skip
        while page := self._page(after, models):
            yield page
            after = page[-1][0].batch

    def _page(self, after: int, models: str) -> list[tuple[Entry, Reading | None]]:
        chosen = f"SELECT {', '.join('e.' + name for name in COLUMNS.split(', '))}, r.body, r.checksum "
        chosen += "FROM intently_entries e LEFT JOIN intently_readings r ON r.content = e.content AND r.models = ? "
        with self._backend.reader() as store:
            if store is None:
                return []
            rows = store.execute(f"{chosen} WHERE e.seq > ? ORDER BY e.seq LIMIT ?", (models, after, PAGE))
            if rows:
                last, batch = rows[-1][:2]
                rest = f"{chosen} WHERE e.seq > ? AND e.batch = ? ORDER BY e.seq"
                rows += store.execute(rest, (models, last, batch))
        return [(checked_entry(row[:9], self.place), self._checked_reading(row)) for row in rows]

    def _checked_reading(self, row: Row) -> Reading | None:
        if row[9] is None:
            return None
        body = bytes(row[9])
        # What models read can be read again.
        return body if zlib.crc32(body) == row[10] else None

    def lists(self, last: int) -> list[Entry]:
        """Return the entries of lists that ads share, up to the number `last`, in order."""
        with self._backend.reader() as store:
            if store is None:
                return []
            rows = store.execute(
                f"SELECT {COLUMNS} FROM intently_entries WHERE kind = ? AND seq <= ? ORDER BY seq",
                (str(Kind.LIST), last),
            )
        return [checked_entry(row, self.place) for row in rows]

    def history(self, ad_id: str | None = None, limit: int = 20) -> list[Entry]:
        """Return the newest entries, of one ad or of all, newest first."""
        where, values = ("WHERE ad_id = ?", (ad_id, limit)) if ad_id is not None else ("", (limit,))
        with self._backend.reader() as store:
            if store is None:
                return []
            rows = store.execute(
                f"SELECT {COLUMNS} FROM intently_entries {where} ORDER BY seq DESC LIMIT ?", tuple(values)
            )
        return [checked_entry(row, self.place) for row in rows]

    def compact(self, floor: int = 0) -> None:
        """Remove superseded entries, those of ads up to `floor`, readings that nobody needs; give the space back."""
        committer = self._writing()
        while committer.call(lambda store: fold(store, committer.durable)):
            pass
        committer.call(lambda store: drop(store, min(floor, committer.durable)))
        committer.call(self._backend.shrink)

    def version(self) -> str:
        """Return the version of the library or the server that keeps the log, empty if it is not known yet."""
        with self._backend.reader() as store:
            return self._backend.version(store)

    def num_bytes(self) -> int:
        """Return how many bytes the log takes."""
        with self._backend.reader() as store:
            return 0 if store is None else self._backend.num_bytes(store)

    def facts(self) -> Facts:
        """Return the log in figures."""
        with self._backend.reader() as store:
            if store is None:
                return Facts(self.place, self._backend.kind, "", 0, Position("", 0, 0), 0, 0, 0, 0, {})
            ((first, num, num_ads),) = store.execute(
                "SELECT coalesce(min(seq), 0), count(*), count(DISTINCT ad_id) FROM intently_entries"
            )
            ((num_readings,),) = store.execute("SELECT count(*) FROM intently_readings")
            kinds: dict[str, int] = dict(store.execute("SELECT kind, count(*) FROM intently_entries GROUP BY kind"))
            return Facts(
                self.place, self._backend.kind, self._backend.version(store), self._backend.num_bytes(store),
                position_of(store), first, num, num_readings, num_ads, {str(kind): kinds.get(kind, 0) for kind in Kind},
            )  # fmt: skip

    def verify(self) -> Verified:
        """Look at every byte."""
        with self._backend.reader() as store:
            if store is None:
                return Verified(0, 0, ())
            found, problems = [], self._backend.damage(store)
            for num, problem in problems_of(store):
                found.append(num)
                if problem:
                    problems.append(problem)
        return Verified(found.count("entry"), found.count("reading"), tuple(problems))

    def backup(self, path: Path) -> Backup:
        """Write a copy to a file, while changes go on."""
        from intently.live.log.copying import backup  # which knows the tables, and so imports this module

        return backup(self._backend.reader(), path)

    def restore(self, path: Path) -> Backup:
        """Put the content of a backup in the place of this log's. Numbers go back to those of the backup."""
        from intently.live.log.copying import whole_backup

        committer = self._writing()
        with whole_backup(path) as source:
            committer.call(lambda store: replace_rows(store, source))
        position = self.position()
        committer.reset(position.last)
        return Backup(str(path), position, self.facts().num_entries)

    def close(self) -> None:
        """Write what was appended and let the next process write."""
        with self._owning:
            if self._committer:
                self._finalizer()
                self._committer = None
            self._backend.close()

    def _writing(self) -> Committer:
        if self._committer is None:
            self.own()
        assert self._committer
        return self._committer
