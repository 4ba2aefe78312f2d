"""The durable log of changes: what was acknowledged is on disk, and a restart replays it without a model.

`open_log` opens one: a file (SQLite, the default of `CurrentEngine`), a PostgreSQL database by its URL, or memory.
All of them are a `ChangeLog`. An entry holds what a change did, never how it was asked for.
"""

from intently.live.log.base import Backup, ChangeLog, Facts, Position, Receipt, Recovered, Verified
from intently.live.log.entries import Entry, Kind
from intently.live.log.memory import MemoryLog
from intently.live.log.opening import LOG_FILE, open_log

__all__ = [
    "LOG_FILE",
    "Backup",
    "ChangeLog",
    "Entry",
    "Facts",
    "Kind",
    "MemoryLog",
    "Position",
    "Receipt",
    "Recovered",
    "Verified",
    "open_log",
]
