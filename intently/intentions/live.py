"""A trie that changes while it is read: every change makes a version, and a reader keeps the one it began with.

Versions share their nodes (see `intently.intentions.trie`): a change costs about as much as the changed intentions have
siblings, not as the trie has nodes. What it replaced stays in memory until, in the background, the newest version is
copied without it; changes made meanwhile are then made again on the copy.
"""

import threading
from collections.abc import Sequence

import numpy as np

from intently.arrays import IntArray
from intently.errors import InputError
from intently.intentions.trie import NUM_FIELDS, Records, Trie, as_padded

MIN_SPARE = 4096  # nodes that a small trie may grow by before it is compacted


class LiveTrie:
    """The newest version of a trie, and the way to the next. Any number of threads may read and change it.

    `trie` is the newest version: take it once and read it as long as you like. `version` counts the changes.
    """

    def __init__(self, trie: Trie, next_id: int | None = None) -> None:
        """Begin with `trie`; new intentions get the ids from `next_id` on, and none of them is given out again.

        By default these are the ids above the trie's highest. Where sequences were given twice to `Trie.build`, say how
        many there were, or a new intention gets the id of a duplicate.
        """
        self._lock = threading.Lock()  # held by whoever makes the next version; readers need none
        self._version = 0
        above = int(trie.intention_ids.max()) + 1
        self._next_id = above if next_id is None else next_id
        if self._next_id < above:
            raise InputError(f"next_id is {next_id}, but the trie has intention {above - 1}")
        self._compaction: threading.Thread | None = None
        self._changes: list[tuple[IntArray, IntArray, IntArray]] = []  # made since the compaction under way began
        self._num_compact = trie.num_nodes
        self._records = _with_room(trie)
        self.trie = Trie(self._records[: trie.num_nodes], trie.root)

    @property
    def version(self) -> int:
        """How often intentions have been added or removed."""
        return self._version

    def add(self, sequences: Sequence[Sequence[int]]) -> IntArray:
        """Add intentions by their token sequences and return their new ids, in order."""
        return self.change(add=sequences)

    def remove(self, sequences: Sequence[Sequence[int]]) -> None:
        """Remove intentions by their token sequences."""
        self.change(remove=sequences)

    def change(self, add: Sequence[Sequence[int]] = (), remove: Sequence[Sequence[int]] = ()) -> IntArray:
        """Add and remove intentions in one step, which readers see whole; return the ids of those added, in order.

        Raises `InputError`, and changes nothing, for a sequence to add that is there or comes twice, and for one to
        remove that is not there or comes twice.
        """
        padded = as_padded([*add, *remove])
        with self._lock:
            ids = np.arange(self._next_id, self._next_id + len(add))
            if not len(padded):
                return ids
            change = padded[: len(add)], ids, padded[len(add) :]
            self.trie, self._records = _changed(self.trie, self._records, change)
            self._next_id += len(add)
            self._version += 1
            if self._compaction:
                self._changes.append(change)
            elif self.trie.num_nodes > 2 * self._num_compact + MIN_SPARE:
                self._compaction = threading.Thread(target=self._compact, args=(self.trie,), daemon=True)
                self._compaction.start()
        return ids

    def _compact(self, trie: Trie) -> None:
        """Copy what `trie` reaches, make the changes since then again, and go on from there."""
        compact = trie.compacted()
        records = _with_room(compact)
        num_compact = compact.num_nodes
        with self._lock:
            for change in self._changes:
                compact, records = _changed(compact, records, change)
            self.trie, self._records, self._num_compact = compact, records, num_compact
            self._changes, self._compaction = [], None

    def wait(self) -> None:
        """Return once no compaction is under way."""
        compaction = self._compaction
        if compaction:
            compaction.join()


def _with_room(trie: Trie) -> Records:
    """Return a copy of the trie's records with room for as many changes as are kept before they are compacted."""
    records = np.empty((3 * trie.num_nodes + 2 * MIN_SPARE, NUM_FIELDS), dtype=np.int32)
    records[: trie.num_nodes] = trie.records
    return records


def _changed(trie: Trie, records: Records, change: tuple[IntArray, IntArray, IntArray]) -> tuple[Trie, Records]:
    """Return the next version, and the matrix it lies in: `records`, or a larger one if there is no room left."""
    blocks = trie.edited(*change)
    used, needed = trie.num_nodes, trie.num_nodes + sum(map(len, blocks))
    if needed > len(records):  # older versions keep the matrix they have
        grown = np.empty((2 * needed, NUM_FIELDS), dtype=np.int32)
        grown[:used] = records[:used]
        records = grown
    for block in blocks:
        records[used : used + len(block)] = block
        used += len(block)
    return Trie(records[:needed], needed - 1), records
