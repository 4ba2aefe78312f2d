"""A log in a file of SQLite, beside the generations of an engine.

One connection writes and checkpoints, in write-ahead mode, and flushes the disk at every commit. All others only read.
So the fault of SQLite 3.7.0 to 3.51.2 that damages a file which two connections write to at the same instant cannot
happen. The lock of the writer is that of the operating system and ends with its process.
"""

import contextlib
import os
import sqlite3
import stat
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from intently.errors import LogBusyError, LogError, LogFullError
from intently.files import PARTIAL, fsync_directory
from intently.generation.lock import try_lock
from intently.live.log.base import Recovered
from intently.live.log.committer import Row, Store
from intently.live.log.tables import check_format, create_tables

APPLICATION_ID = 0x696E746C  # "intl", in the header of the file
RESERVE_BYTES = 64 << 20  # of the disk, below which only deletes and pauses are taken
_BALLAST_BYTES = 1 << 20  # kept back for deletes and pauses
_LEAVE_SHARE = 0.01  # so much more than the reserve has to be free again
_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
_BUSY_S = 5.0
_RESTORE = "restore a backup with `intently log DIR restore BACKUP`"


class SqliteStore:
    """A connection to a log's file."""

    def __init__(self, connection: sqlite3.Connection, path: Path, lock: int = -1, ballast: Path | None = None) -> None:
        """`lock` is the descriptor that holds the writer's lock; `ballast` a file that a full disk may have."""
        self.path = path
        self._connection, self._lock, self._ballast = connection, lock, ballast

    @classmethod
    def opened(cls, path: Path, *, read_only: bool, lock: int = -1, ballast: Path | None = None) -> "SqliteStore":
        """Open an existing file."""
        mode = "ro" if read_only else "rw"
        if read_only and not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists():
            mode = "ro&immutable=1"  # such as a read-only disk, where SQLite cannot make the files that readers share
        place = f"file:{quote(os.fspath(path.absolute()))}?mode={mode}"
        with told(path):
            connection = sqlite3.connect(
                place, uri=True, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
            )
            connection.execute("PRAGMA mmap_size = 0")
            if not read_only:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute(f"PRAGMA journal_size_limit = {64 << 20}")
        return cls(connection, path, lock, ballast)

    def execute(self, sql: str, values: Row = ()) -> list[Row]:
        """Run one statement and return its rows."""
        with told(self.path):
            return self._connection.execute(sql, values).fetchall()

    def execute_many(self, sql: str, rows: list[Row]) -> None:
        """Run one statement for each row of values."""
        with told(self.path):
            self._connection.executemany(sql, rows)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what the block does, flushed to the disk, or nothing of it."""
        with told(self.path):
            self._connection.execute("BEGIN")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk ends it by itself
                    self._connection.execute("ROLLBACK")
                raise

    def damage(self) -> list[str]:
        """Return what SQLite finds damaged in the file."""
        try:
            rows = self.execute("PRAGMA integrity_check(10)")
        except LogError as error:
            return [error.problem]
        return [str(row[0]) for row in rows if row[0] != "ok"]

    def make_room(self) -> bool:
        """Remove the ballast; return whether there was one."""
        try:
            if self._ballast:
                self._ballast.unlink()
                return True
        except FileNotFoundError:
            pass
        return False

    def close(self) -> None:
        """Close the connection, which writes everything into the file itself, and let go of the lock."""
        if self._lock >= 0:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


class SqliteBackend:
    """Opens the file `path` for reading and for writing, creates it, and repairs it."""

    kind = "sqlite"

    def __init__(self, path: Path, reserve_bytes: int = RESERVE_BYTES) -> None:
        """Below `reserve_bytes` of free disk only deletes and pauses are taken."""
        self.path, self.place, self.reserve_bytes = path, str(path), reserve_bytes
        self.recovered: Recovered | None = None
        self._reading = threading.Lock()
        self._reader: SqliteStore | None = None
        self._read_file: tuple[int, int] | None = None  # which file the reader has open
        self._is_full = False

    @property
    def _ballast(self) -> Path:
        return self.path.with_name(f"{self.path.name}.reserve")

    @contextmanager
    def reader(self) -> Iterator[Store | None]:
        """Yield the connection that cannot write, for one thread; None if there is no log yet."""
        with self._reading:
            if self._reader and _identity(self.path) != self._read_file:  # it was repaired, or moved away
                self._reader.close()
                self._reader = None
            if self._reader is None and check_header(self.path):
                self._read_file = _identity(self.path)
                self._reader = SqliteStore.opened(self.path, read_only=True)
                try:
                    check_format(self._reader, self.place)
                except BaseException:
                    self._reader.close()
                    self._reader = None
                    raise
            yield self._reader

    def writer(self) -> Store:
        """Return the one connection that writes, after a look at every byte; a damaged file is repaired first."""
        from intently.live.log.repair import repaired  # which opens files, and so imports this module

        lock = self._locked()
        try:
            self.close()  # a file that is repaired gets another in its place
            if is_destroyed(self.path) or check_header(self.path):
                self.recovered = repaired(self.path) or self.recovered
            else:
                _create(self.path)
            store = SqliteStore.opened(self.path, read_only=False, lock=lock, ballast=self._ballast)
        except BaseException:
            os.close(lock)
            raise
        try:
            check_format(store, self.place)
            with store.transaction():  # a log of an earlier version may lack a table
                create_tables(store, integer="INTEGER", blob="BLOB")
            self._keep_ballast()
        except BaseException:
            store.close()
            raise
        return store

    def check_room(self, is_essential: bool) -> None:
        """Raise `LogFullError` if less than the reserve is free, unless a batch is essential."""
        if not self.reserve_bytes:
            return
        found = os.statvfs(self.path.parent)
        free = found.f_bavail * found.f_frsize
        needed = int(self.reserve_bytes * (1 + _LEAVE_SHARE * self._is_full))
        was_full, self._is_full = self._is_full, free < needed
        if self._is_full and not is_essential:
            raise LogFullError(
                f"the disk has {free:,} bytes left, and a reserve of {needed:,} stays free", path=self.path,
                cure="free some space; deletes and pauses are taken meanwhile",
            )  # fmt: skip
        if was_full and not self._is_full:
            self._keep_ballast()

    def version(self, store: Store | None) -> str:
        """Return the version of SQLite."""
        return sqlite3.sqlite_version

    def num_bytes(self, store: Store) -> int:
        """Return the size of the file and of what is not in it yet."""
        files = (self.path, self.path.with_name(f"{self.path.name}-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def damage(self, store: Store) -> list[str]:
        """Return what SQLite finds damaged in the file."""
        assert isinstance(store, SqliteStore)
        return store.damage()

    def shrink(self, store: Store) -> None:
        """Write the file anew without its gaps."""
        store.execute("VACUUM")
        store.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the connection that reads."""
        with self._reading:
            if self._reader:
                self._reader.close()
                self._reader = None

    def _locked(self) -> int:
        path = self.path.with_name(f"{self.path.name}.lock")
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0), 0o666)
        except OSError as error:
            raise LogError(
                f"cannot be written ({error.strerror})", cure="changes need a directory that can be written", path=path
            ) from error
        try:
            if not try_lock(lock):
                holder = os.pread(lock, 1_000, 0).decode(errors="replace").strip() or "another process"
                raise LogBusyError(
                    f"{holder} writes the changes of this engine", cure="send changes to it, or end it first",
                    path=self.path,
                )  # fmt: skip
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"process {os.getpid()}: {' '.join(sys.argv)[:500]}\n".encode(errors="replace"), 0)
        except OSError:  # a full disk: the lock holds without the name
            pass
        except BaseException:
            os.close(lock)
            raise
        return lock

    def _keep_ballast(self) -> None:
        if not self.reserve_bytes or self._ballast.exists():
            return
        # Without room for it nothing can be kept back.
        with contextlib.suppress(OSError), self._ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, _BALLAST_BYTES)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def is_destroyed(path: Path) -> bool:
    """Return whether a file has lost its beginning: it is cut off there, or full of zeros. It is no other program's."""
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except OSError:
        return False
    return not header.strip(b"\0") or (len(header) < _HEADER_BYTES and _MAGIC.startswith(header[: len(_MAGIC)]))


def check_header(path: Path) -> bool:
    """Return whether there is a log at `path`; raise `LogError` for anything else that is there."""
    try:
        found = os.stat(path, follow_symlinks=False)  # noqa: PTH116
    except FileNotFoundError:
        return False
    except OSError as error:
        raise LogError(f"cannot be read ({error.strerror})", path=path) from error
    if not stat.S_ISREG(found.st_mode):
        raise LogError("is no regular file", cure="move it away", path=path)
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except OSError as error:
        raise LogError(f"cannot be read ({error.strerror})", path=path) from error
    if not header.startswith(_MAGIC):
        told = "its first bytes are not those of SQLite"
        raise LogError(f"is not a log of changes, or is destroyed ({told})", cure=_MOVE_AWAY, path=path)
    if len(header) < _HEADER_BYTES or struct.unpack(">I", header[68:72])[0] != APPLICATION_ID:
        raise LogError("is a database of something else, or is destroyed", cure=_MOVE_AWAY, path=path)
    return True


_MOVE_AWAY = f"move it away, then {_RESTORE}; without a backup the engine starts as it was built"


def created(path: Path) -> SqliteStore:
    """Create a file with empty tables, and return it opened. Flush it before it gets its name."""
    with told(path):
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        store = SqliteStore(connection, path)
        try:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            with store.transaction():
                create_tables(store, integer="INTEGER", blob="BLOB")
        except BaseException:
            store.close()
            raise
    return store


def _create(path: Path) -> None:
    partial = path.with_name(f".{path.name}{PARTIAL}")  # the lock is held, so that nobody else writes here
    partial.unlink(missing_ok=True)
    created(partial).close()
    for left in ("-wal", "-shm", "-journal"):  # of a file that somebody moved away
        path.with_name(path.name + left).unlink(missing_ok=True)
    os.rename(partial, path)  # noqa: PTH104
    fsync_directory(path.parent)


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn errors of SQLite into those of a log."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", None)
        primary = None if code is None else code & 0xFF
        if primary == sqlite3.SQLITE_FULL:
            raise LogFullError(
                "the disk is full", cure="free some space; deletes and pauses are taken meanwhile", path=path
            ) from error
        if primary == sqlite3.SQLITE_BUSY:
            raise LogBusyError("another program holds the file", cure="end it", path=path) from error
        cures = {
            sqlite3.SQLITE_CORRUPT: "the process that writes changes repairs the file when it starts",
            sqlite3.SQLITE_NOTADB: _MOVE_AWAY,
            sqlite3.SQLITE_READONLY: "changes need a file and a directory that can be written",
            sqlite3.SQLITE_CANTOPEN: "changes need a file and a directory that can be written",
            sqlite3.SQLITE_IOERR: "look after the disk, then start again",
        }
        raise LogError(str(error), cure=cures.get(primary or -1, ""), path=path) from error
