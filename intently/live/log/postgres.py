"""A log in a PostgreSQL database, by its URL. Needs the extra `postgres`.

One process holds an advisory lock of the session and writes over one connection. So numbers are in the order of
commits, and a reader that asks for numbers behind the last one that it saw misses nothing. If the connection breaks,
the lock is gone with it, and so is the right to write.
"""

import contextlib
import logging
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from intently.errors import LogBusyError, LogError, LogFullError, MissingDependencyError, install_hint
from intently.live.log.base import Recovered
from intently.live.log.committer import Row, Store
from intently.live.log.tables import check_format, create_tables

if TYPE_CHECKING:
    import psycopg

logger = logging.getLogger(__name__)

_LOCK = 0x696E746C79  # the advisory lock of the writer, one in each database and schema
_CONNECT_S = 10


class PostgresStore:
    """A connection to the tables."""

    def __init__(self, connection: "psycopg.Connection[Any]", place: str) -> None:
        self._connection, self.place = connection, place
        weakref.finalize(self, connection.close)

    def execute(self, sql: str, values: Row = ()) -> list[Row]:
        """Run one statement and return its rows."""
        with told(self.place):
            cursor = self._connection.execute(_statement(sql), values or None)
            return cursor.fetchall() if cursor.description else []

    def execute_many(self, sql: str, rows: list[Row]) -> None:
        """Run one statement for each row of values, in one trip to the server."""
        with told(self.place), self._connection.cursor() as cursor:
            cursor.executemany(_statement(sql), rows)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what the block does, or nothing of it."""
        with told(self.place), self._connection.transaction():
            yield

    def make_room(self) -> bool:
        """Return False: the server's disk is the server's."""
        return False

    @property
    def is_closed(self) -> bool:
        """Whether the connection has ended."""
        return bool(self._connection.closed or self._connection.broken)

    def close(self) -> None:
        """Close the connection, which lets go of the lock."""
        with contextlib.suppress(Exception):
            self._connection.execute("SELECT pg_advisory_unlock_all()")  # now, not when the server notices the end
        with contextlib.suppress(Exception):
            self._connection.close()


class PostgresBackend:
    """Connects to the database of a URL, `postgresql://user@host/database`."""

    kind = "postgresql"
    recovered: Recovered | None = None  # the server repairs itself

    def __init__(self, url: str) -> None:
        self._url, self.place = url, _without_password(url)
        self._reading = threading.Lock()
        self._reader: PostgresStore | None = None
        self._has_tables = False

    @contextmanager
    def reader(self) -> Iterator[Store | None]:
        """Yield a connection that cannot write; None if there are no tables yet."""
        with self._reading:
            if self._reader is None or self._reader.is_closed:
                self._reader = self._connected(read_only=True)
            if not self._has_tables:
                ((name,),) = self._reader.execute("SELECT to_regclass('intently_meta')::text")
                if name is None:
                    yield None
                    return
                check_format(self._reader, self.place)
                self._has_tables = True
            yield self._reader

    def writer(self) -> Store:
        """Return the one connection that writes; raise `LogBusyError` if another process has it."""
        store = self._connected(read_only=False)
        try:
            key = f"({_LOCK} + hashtext(current_schema())::bigint)"
            ((is_ours,),) = store.execute(f"SELECT pg_try_advisory_lock({key})")
            if not is_ours:
                raise LogBusyError(
                    "another process writes the changes of this engine", cure="send changes to it, or end it first",
                    path=self.place,
                )  # fmt: skip
            with store.transaction():
                create_tables(store, integer="BIGINT", blob="BYTEA")
            check_format(store, self.place)
        except BaseException:
            store.close()
            raise
        return store

    def check_room(self, is_essential: bool) -> None:
        """Do nothing: how full the server's disk is cannot be seen from here."""

    def version(self, store: Store | None) -> str:
        """Return the version of the server, empty without a log."""
        return "" if store is None else str(store.execute("SHOW server_version")[0][0])

    def num_bytes(self, store: Store) -> int:
        """Return the size of the tables and their indexes."""
        tables = ("intently_entries", "intently_readings", "intently_receipts", "intently_meta")
        sizes = ", ".join(f"pg_total_relation_size('{table}')" for table in tables)
        return sum(store.execute(f"SELECT {sizes}")[0])

    def damage(self, store: Store) -> list[str]:
        """Return nothing: the server looks after its files, and every row has its own checksum."""
        return []

    def shrink(self, store: Store) -> None:
        """Let the server use the free space again."""
        for table in ("intently_entries", "intently_readings"):
            store.execute(f"VACUUM ANALYZE {table}")

    def close(self) -> None:
        """Close the connection that reads."""
        with self._reading:
            if self._reader:
                self._reader.close()
                self._reader = None

    def _connected(self, *, read_only: bool) -> PostgresStore:
        try:
            import psycopg
        except ImportError as error:
            raise MissingDependencyError(f"a log in PostgreSQL needs psycopg; {install_hint('postgres')}") from error
        with told(self.place):
            connection = psycopg.connect(
                self._url, autocommit=True, connect_timeout=_CONNECT_S, application_name="intently"
            )
            if read_only:
                connection.execute("SET default_transaction_read_only = on")
                connection.execute("SET default_transaction_isolation = 'repeatable read'")
            else:
                connection.execute("SET synchronous_commit = on")
        return PostgresStore(connection, self.place)


def _statement(sql: str) -> Any:
    return sql.replace("?", "%s")


def _without_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    address = rest.partition("?")[0]
    user, at, host = address.rpartition("@")
    return f"{scheme}://{user.partition(':')[0]}{at}{host}"


@contextmanager
def told(place: str) -> Iterator[None]:
    """Turn errors of the server and the network into those of a log."""
    import psycopg

    try:
        yield
    except psycopg.errors.DiskFull as error:
        raise LogFullError("the server's disk is full", cure="free some space there", path=place) from error
    except psycopg.OperationalError as error:
        problem = str(error).strip().partition("\n")[0] or type(error).__name__
        raise LogError(f"the server does not answer ({problem})", cure="start it, then this", path=place) from error
    except psycopg.Error as error:
        raise LogError(str(error).strip().partition("\n")[0], path=place) from error
