"""Which ad has which number. An ad keeps its number wherever merges move its row, so a number finds the row again."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from intently.arrays import IntArray
from intently.snapshot.snapshot import Snapshot


class AdNumbers:
    """The numbers of the living ads of one snapshot, the newest. One thread at a time changes them; any may look."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.next = snapshot.num_rows  # the number that the next ad gets
        self._of: dict[str, int] = {}
        self._snapshot: Snapshot | None = None
        self.describe(snapshot)

    def describe(self, snapshot: Snapshot) -> None:
        """Describe a snapshot, also after a change that was interrupted. Costs nothing if it is described already."""
        if self._snapshot is snapshot:
            return
        numbers: dict[str, int] = {}
        for start, segment in zip(snapshot.starts, snapshot.segments, strict=False):
            lives = snapshot.alive[start : start + segment.num_rows]
            ad_ids = segment.content.column("ad_id").filter(pa.array(lives)).to_pylist()
            numbers.update(zip(ad_ids, segment.numbers[lives].tolist(), strict=True))
            self.next = max(self.next, int(segment.numbers[-1]) + 1 if segment.num_rows else 0)
        self._of = numbers
        self._snapshot = snapshot

    def change(self, snapshot: Snapshot, gone: Iterable[str], came: Mapping[str, int]) -> None:
        """Describe the next snapshot, in which some ads are gone and others came, with their numbers."""
        self._snapshot = None  # until all is done: whoever looks meanwhile, or finds it half done, looks further
        for ad_id in gone:
            self._of.pop(ad_id, None)
        self._of.update(came)
        self._snapshot = snapshot

    def moved(self, before: Snapshot, after: Snapshot) -> None:
        """Describe `after`, which holds the ads of `before` in other rows."""
        if self._snapshot is before:
            self._snapshot = after

    def __contains__(self, ad_id: str) -> bool:
        return ad_id in self._of

    def number(self, ad_id: str) -> int:
        """Return the number of an ad, −1 if it is not there."""
        return self._of.get(ad_id, -1)

    def row(self, snapshot: Snapshot, ad_id: str) -> int | None:
        """Return the row of an ad, None if it is not there."""
        number = self._of.get(ad_id)
        return None if number is None else snapshot.row_of(number)

    def rows(self, snapshot: Snapshot, ad_ids: Sequence[str]) -> IntArray:
        """Return the rows (M,) of ads, −1 for those that are not there."""
        return snapshot.rows_of(np.array(list(map(self.number, ad_ids)), dtype=np.int64))

    def rows_in(self, snapshot: Snapshot, ad_ids: Iterable[str]) -> list[int]:
        """Return the rows of those ads that are in `snapshot`, which may be an older one."""
        wanted = list(ad_ids)
        found = self.rows(snapshot, wanted)
        rows: list[int] = found[found >= 0].tolist()
        elsewhere = [ad_id for ad_id, row in zip(wanted, found.tolist(), strict=True) if row < 0]
        if elsewhere and snapshot is not self._snapshot:  # replaced or removed since
            ids = pa.array(elsewhere, pa.string())
            for start, segment in zip(snapshot.starts, snapshot.segments, strict=False):
                is_in = pc.is_in(segment.content.column("ad_id"), value_set=ids).to_numpy(zero_copy_only=False)
                rows += [start + row for row in np.flatnonzero(is_in).tolist() if snapshot.alive[start + row]]
        return rows
