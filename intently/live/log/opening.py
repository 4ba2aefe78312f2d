"""Which log a text means."""

from pathlib import Path

from intently.errors import LogError
from intently.live.log.base import ChangeLog
from intently.live.log.memory import MemoryLog
from intently.live.log.postgres import PostgresBackend
from intently.live.log.sql import SqlLog
from intently.live.log.sqlite import RESERVE_BYTES, SqliteBackend

LOG_FILE = "changes.db"  # in the directory of an engine
MEMORY = "memory"


def open_log(where: str | Path, *, reserve_bytes: int = RESERVE_BYTES) -> ChangeLog:
    """Return the log at `where`: `memory`, a `postgresql://` URL, the directory of an engine, or a file.

    Nothing is created before the first change. With less than `reserve_bytes` of free disk, a file takes only deletes
    and pauses.
    """
    text = str(where)
    if text == MEMORY:
        return MemoryLog()
    if text.startswith(("postgresql://", "postgres://")):
        return SqlLog(PostgresBackend(text))
    if "://" in text:
        raise LogError(f"{text.partition('://')[0]}:// is no place for a log", cure="use a file or postgresql://…")
    path = Path(where)
    return SqlLog(SqliteBackend(path / LOG_FILE if path.is_dir() else path, reserve_bytes))
