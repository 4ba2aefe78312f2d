"""Keeps a log small: superseded entries go bit by bit after commits, all of them when somebody asks.

A log so has at most two entries for each ad that was ever changed, and the newest ones as they came.
"""

from intently.live.log.committer import Row, Store
from intently.live.log.entries import Entry, Kind
from intently.live.log.folding import folded
from intently.live.log.tables import COLUMNS, INSERT, SET, checked_entry, entry_row, meta_of

_FOLDED_AT_ONCE = 200  # entries that are looked at in one transaction
_MOST_ROUNDS = 6  # of folding after one commit
KEEP_RECENT = 10_000  # newest entries that stay as they are, for people who look into the log


class Tidy:
    """Removes superseded entries bit by bit, so that the log stays bounded and no commit waits long."""

    def __init__(self) -> None:
        self._next = 0  # the number at which there is something to do again

    def tidy(self, store: Store, last: int) -> None:
        """Fold what is no longer recent, at most as many entries as keep pace with batches of a thousand."""
        for _ in range(_MOST_ROUNDS):
            if last - KEEP_RECENT < self._next:
                return
            fold(store, last - KEEP_RECENT)
            self._next = int(meta_of(store)["folded"]) + _FOLDED_AT_ONCE


def fold(store: Store, last: int) -> int:
    """Fold the next entries up to the number `last`, and return how many there were."""
    after = int(meta_of(store).get("folded", "0"))
    rows = store.execute(
        f"SELECT {COLUMNS} FROM intently_entries WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?",
        (after, last, _FOLDED_AT_ONCE),
    )
    if not rows:
        return 0
    with store.transaction():
        for row in rows:
            new = checked_entry(row, "the log")
            older = store.execute(
                f"SELECT {COLUMNS} FROM intently_entries WHERE ad_id = ? AND seq < ? ORDER BY seq", (new.ad_id, new.seq)
            )
            before: list[Entry] = []
            for each in older:
                before = folded(before, checked_entry(each, "the log"))
            left = folded(before, new)
            if left == [*before, new]:
                continue
            gone = {entry.seq for entry in before} | {new.seq}
            store.execute_many("DELETE FROM intently_entries WHERE seq = ?", [(seq,) for seq in sorted(gone)])
            store.execute_many(INSERT, [entry_row(entry) for entry in left])
            _forget_readings(store, {entry.content for entry in (*before, new)} - {entry.content for entry in left})
        store.execute(SET, ("folded", str(rows[-1][0])))
    return len(rows)


def drop(store: Store, floor: int) -> None:
    """Remove entries of ads up to the number `floor`, and readings of texts that no entry has.

    Those of lists stay, because no generation holds lists.
    """
    with store.transaction():
        floor = max(floor, int(meta_of(store).get("floor", "0")))
        store.execute("DELETE FROM intently_entries WHERE seq <= ? AND kind <> ?", (floor, str(Kind.LIST)))
        store.execute(SET, ("floor", str(floor)))
        store.execute(
            "DELETE FROM intently_readings WHERE NOT EXISTS "
            "(SELECT 1 FROM intently_entries e WHERE e.content = intently_readings.content)"
        )


def _forget_readings(store: Store, contents: set[bytes | None]) -> None:
    rows: list[Row] = [(content, content) for content in contents if content is not None]
    if rows:
        store.execute_many(
            "DELETE FROM intently_readings WHERE content = ? "
            "AND NOT EXISTS (SELECT 1 FROM intently_entries WHERE content = ?)", rows,
        )  # fmt: skip
