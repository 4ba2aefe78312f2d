"""What every log of changes can do, wherever it lies."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from intently.errors import LogError
from intently.live.log.entries import Entry

Reading = bytes  # what models read in one ad (`intently.live.parts`)


@dataclass(frozen=True)
class Position:
    """Where a log stands."""

    history: str  # which sequence of changes this is; a restore begins another one
    floor: int  # entries up to this number were removed, because all generations contain them
    last: int  # the number of the newest change


@dataclass(frozen=True)
class Recovered:
    """What was found damaged when the log was opened, and what was saved."""

    problem: str
    num_kept: int
    num_lost: int | None  # entries that cannot be read, or whose checksum is wrong; None if nobody can tell
    aside: str  # where the damaged original lies

    def __str__(self) -> str:
        lost = "an unknown number" if self.num_lost is None else f"{self.num_lost:,}"
        return f"{self.problem}; {self.num_kept:,} changes were saved, {lost} lost"


@dataclass(frozen=True)
class Receipt:
    """The answer to a change that was sent with a key, kept with the change, so that it is not applied twice."""

    sender: str
    key: str
    fingerprint: bytes  # of the request
    until_ms: int  # since 1970; later nobody asks for it
    status: int
    body: bytes


@dataclass(frozen=True)
class Facts:
    """A log in figures."""

    place: str
    kind: str
    version: str  # of the library or the server that keeps it
    bytes: int
    position: Position
    first: int  # the number of the oldest entry that is kept, 0 without entries
    num_entries: int
    num_readings: int
    num_ads: int
    by_kind: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as plain values, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Verified:
    """What a look at every byte found; a whole log has no problems."""

    num_entries: int
    num_readings: int
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Backup:
    """A copy of a log, or a log made from one."""

    path: str
    position: Position
    num_entries: int


class ChangeLog(Protocol):
    """A log of changes. Any number of threads may use it; one process at a time writes into it.

    Its methods raise `LogError` if it cannot be read or written, `LogBusyError` if another process writes into it, and
    `LogFullError` if the disk has no room.
    """

    @property
    def is_owned(self) -> bool:
        """Whether this process writes into the log."""

    @property
    def appended(self) -> int:
        """The number of the newest change that this process gave to the log, on disk already or not."""

    @property
    def durable(self) -> int:
        """The number of the newest change of this process that is on disk."""

    @property
    def failure(self) -> LogError | None:
        """Why nothing is taken before `reset`, or at all; None as long as everything is well."""

    @property
    def recovered(self) -> Recovered | None:
        """What was found damaged when the log was opened for writing."""

    def own(self, at_least: int = 0) -> None:
        """Become the one process that writes. Numbers go on after the newest change, and after `at_least`."""

    def append(
        self,
        entries: Sequence[Entry],
        readings: Mapping[bytes, Reading],
        models: str,
        receipt: Receipt | None = None,
    ) -> Future[None]:
        """Add one batch; the result is there once it is on disk. Its numbers follow `appended`.

        `readings` are what models of the fingerprint `models` made of the puts' texts, by the digest of the content.
        `receipt` is on disk if and only if the batch is.
        """

    def receipt(self, sender: str, key: str) -> Receipt | None:
        """Return the receipt that was kept for a sender's key; None if nobody used the key, or it has expired.

        Only the process that writes may call this.
        """

    def reset(self) -> int:
        """Return `durable` after an append failed, and take further ones. Until then, each fails like the first."""

    def flush(self) -> None:
        """Wait until all that was appended is on disk or has failed."""

    def add_readings(self, readings: Mapping[bytes, Reading], models: str) -> None:
        """Keep what other models made of texts that are in the log already."""

    def position(self) -> Position:
        """Return where the log stands on disk."""

    def entries(self, after: int, models: str) -> Iterator[list[tuple[Entry, Reading | None]]]:
        """Yield lists of the entries behind the number `after` in order, whole batches each, with their readings."""

    def lists(self, last: int) -> list[Entry]:
        """Return the entries of lists that ads share, up to the number `last`, in order.

        Generations hold ads alone, so every start needs these, and `compact` keeps the newest of each list.
        """

    def history(self, ad_id: str | None = None, limit: int = 20) -> list[Entry]:
        """Return the newest entries, of one ad or of all, newest first."""

    def compact(self, floor: int = 0) -> None:
        """Remove entries that later ones supersede, those of ads up to `floor`, and readings that nobody needs."""

    def version(self) -> str:
        """Return the version of the library or the server that keeps the log, empty if it is not known yet."""

    def num_bytes(self) -> int:
        """Return how many bytes the log takes."""

    def facts(self) -> Facts:
        """Return the log in figures."""

    def verify(self) -> Verified:
        """Look at every byte."""

    def backup(self, path: Path) -> Backup:
        """Write a copy to a file, while changes go on."""

    def restore(self, path: Path) -> Backup:
        """Put the content of a backup in the place of this log's."""

    def close(self) -> None:
        """Write what was appended and let the next process write."""
