"""A log in memory: changes outlive a generation, but not the process. One entry or two for each ad that changed."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path

from intently.errors import LogError
from intently.live.log.base import Backup, Facts, Position, Reading, Receipt, Recovered, Verified
from intently.live.log.entries import Entry, Kind
from intently.live.log.folding import folded


class MemoryLog:
    """A log of this process alone. Superseded entries are forgotten at once."""

    is_owned = True
    failure: LogError | None = None
    recovered: Recovered | None = None

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of_ad: dict[str, list[Entry]] = {}
        self._readings: dict[tuple[bytes, str], Reading] = {}
        self._users: dict[bytes, int] = {}  # digest of a content → number of entries that have it
        self._receipts: dict[tuple[str, str], Receipt] = {}
        self._last = self._floor = 0

    @property
    def appended(self) -> int:
        """The number of the newest change."""
        return self._last

    durable = appended

    def own(self, at_least: int = 0) -> None:
        """Let numbers go on after `at_least`."""
        with self._lock:
            self._last = max(self._last, at_least)

    def append(
        self,
        entries: Sequence[Entry],
        readings: Mapping[bytes, Reading],
        models: str,
        receipt: Receipt | None = None,
    ) -> Future[None]:
        """Add one batch, at once."""
        with self._lock:
            if receipt:
                self._receipts[receipt.sender, receipt.key] = receipt
            self._readings.update({(content, models): each for content, each in readings.items()})
            for entry in entries:
                before = self._of_ad.get(entry.ad_id, [])
                after = folded(before, entry)
                self._of_ad[entry.ad_id] = after
                for each in after:
                    self._count(each, 1)
                for each in before:
                    self._count(each, -1)
            if entries:
                self._last = entries[-1].seq
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def receipt(self, sender: str, key: str) -> Receipt | None:
        """Return the receipt that was kept for a sender's key, None if there is none or it has expired."""
        with self._lock:
            now_ms = time.time_ns() // 1_000_000
            self._receipts = {name: each for name, each in self._receipts.items() if each.until_ms >= now_ms}
            return self._receipts.get((sender, key))

    def _count(self, entry: Entry, by: int) -> None:
        if entry.content is None:
            return
        left = self._users[entry.content] = self._users.get(entry.content, 0) + by
        if not left:
            del self._users[entry.content]
            for key in [key for key in self._readings if key[0] == entry.content]:
                del self._readings[key]

    def reset(self) -> int:
        """Return the number of the newest change."""
        return self._last

    def flush(self) -> None:
        """Do nothing: every change is there already."""

    def add_readings(self, readings: Mapping[bytes, Reading], models: str) -> None:
        """Keep what other models made of texts that are in the log."""
        with self._lock:
            self._readings.update(
                {(content, models): each for content, each in readings.items() if content in self._users}
            )

    def position(self) -> Position:
        """Return where the log stands."""
        return Position("memory", self._floor, self._last)

    def entries(self, after: int, models: str) -> Iterator[list[tuple[Entry, Reading | None]]]:
        """Yield one list of the entries behind `after`, if there are any."""
        with self._lock:
            found = sorted((e for each in self._of_ad.values() for e in each if e.seq > after), key=lambda e: e.seq)
            told = [(e, self._readings.get((e.content, models)) if e.content else None) for e in found]
        if told:
            yield told

    def lists(self, last: int) -> list[Entry]:
        """Return the entries of lists that ads share, up to the number `last`, in order."""
        with self._lock:
            found = (entry for each in self._of_ad.values() for entry in each)
            return sorted((e for e in found if e.kind is Kind.LIST and e.seq <= last), key=lambda e: e.seq)

    def history(self, ad_id: str | None = None, limit: int = 20) -> list[Entry]:
        """Return the newest entries, newest first."""
        with self._lock:
            chosen = self._of_ad.values() if ad_id is None else [self._of_ad.get(ad_id, [])]
            return sorted((entry for each in chosen for entry in each), key=lambda entry: -entry.seq)[:limit]

    def compact(self, floor: int = 0) -> None:
        """Forget entries of ads up to `floor`."""
        with self._lock:
            self._floor = max(self._floor, min(floor, self._last))
            for ad_id, entries in list(self._of_ad.items()):
                left = [entry for entry in entries if entry.seq > self._floor or entry.kind is Kind.LIST]
                for entry in entries:
                    if entry.seq <= self._floor:
                        self._count(entry, -1)
                if left:
                    self._of_ad[ad_id] = left
                else:
                    del self._of_ad[ad_id]

    def version(self) -> str:
        """Return nothing: no library keeps this log."""
        return ""

    def num_bytes(self) -> int:
        """Return how many bytes the readings take; entries are few beside them."""
        return sum(map(len, self._readings.values()))

    def facts(self) -> Facts:
        """Return the log in figures."""
        found = self.history(limit=self._last + 1)
        return Facts(
            "memory", "memory", self.version(), self.num_bytes(), self.position(),
            min((entry.seq for entry in found), default=0), len(found), len(self._readings), len(self._of_ad),
            {str(kind): sum(entry.kind is kind for entry in found) for kind in Kind},
        )  # fmt: skip

    def verify(self) -> Verified:
        """Return that nothing is damaged, as nothing lies on a disk."""
        return Verified(sum(map(len, self._of_ad.values())), len(self._readings), ())

    def backup(self, path: Path) -> Backup:
        """Raise `LogError`: there is nothing to copy."""
        raise LogError("a log in memory cannot be backed up", cure="open the engine with its log on disk")

    def restore(self, path: Path) -> Backup:
        """Raise `LogError`: it would not last."""
        raise LogError("a log in memory cannot be restored", cure="open the engine with its log on disk")

    def close(self) -> None:
        """Do nothing."""
