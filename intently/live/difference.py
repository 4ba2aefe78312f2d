"""What a feed changes in a catalog: which ads come, go, and get other values.

A feed is *whole* (an ad that it does not list has ended) or *partial* (only the ads that it lists change, and one whose
status is `ended` goes). Either way, a field that the feed has no column for stays as it is, and in a partial feed so
does an empty one.

Shape letters: N ads of the catalog, F ads of the feed, K ads that are in both.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from intently.arrays import IntArray, Mask
from intently.catalog import Catalog
from intently.catalog.columns import SCHEMA
from intently.snapshot.attributes import ATTRIBUTE_FIELDS


@dataclass(frozen=True, eq=False)
class Difference:
    """What becomes of the ads of `before` (N,) by a `feed` (F,)."""

    before: Catalog
    feed: Catalog
    came: IntArray  # rows of `feed` whose ads are new
    went: IntArray  # rows of `before` whose ads are to end
    kept: IntArray  # (K, 2): rows of `before` and of `feed` of the ads that are in both and stay
    changed: Mapping[str, Mask]  # field → which ads (K,) get another value; fields that change nowhere are left out

    @classmethod
    def of(cls, before: Catalog, feed: Catalog, given: Mapping[str, Mask], *, partial: bool = False) -> "Difference":
        """Compare a catalog with a feed, of which `given` tells for each field which rows (F,) say something."""
        old_rows = before.ad_rows(feed.column("ad_id"))
        rows = np.arange(feed.num_ads)
        ends = np.zeros(feed.num_ads, dtype=np.bool_)
        if partial:
            said = given.get("status", ends)
            ends = said & pc.equal(feed.column("status"), "ended").to_numpy(zero_copy_only=False)
            went = np.sort(old_rows[ends & (old_rows >= 0)])
        else:
            listed = np.zeros(before.num_ads, dtype=np.bool_)
            listed[old_rows[old_rows >= 0]] = True
            went = np.flatnonzero(~listed)
        both = rows[(old_rows >= 0) & ~ends]
        kept = np.stack((old_rows[both], both), axis=1)
        if partial and "payload" in given:
            feed = _with_whole_payloads(before, feed, kept[given["payload"][both]])
        changed = {}
        for name in SCHEMA.names[1:]:
            if name in given:
                old, new = before.column(name).take(kept[:, 0]), feed.column(name).take(kept[:, 1])
                differs = _differs(old, new) & given[name][both]
                if differs.any():
                    changed[name] = differs
        return cls(before, feed, rows[(old_rows < 0) & ~ends], went, kept, changed)

    @property
    def is_empty(self) -> bool:
        """Whether nothing changes."""
        return not (len(self.came) or len(self.went) or self.changed)

    @property
    def num_after(self) -> int:
        """The number of ads there will be."""
        return self.before.num_ads + len(self.came) - len(self.went)

    @cached_property
    def has_new_text(self) -> Mask:
        """Which ads (K,) get another value of a field that models or indexes read."""
        return self._any(name for name in self.changed if name not in ATTRIBUTE_FIELDS)

    @cached_property
    def has_new_attributes(self) -> Mask:
        """Which ads (K,) get another value of an attribute, and no other text."""
        return self._any(self.changed) & ~self.has_new_text

    def _any(self, names: Iterable[str]) -> Mask:
        found = np.zeros(len(self.kept), dtype=np.bool_)
        for name in names:
            found |= self.changed[name]
        return found

    @cached_property
    def after(self) -> Catalog:
        """The ads that are in both (K,), as they become."""
        columns = []
        for name in SCHEMA.names:
            values = self.before.column(name).take(self.kept[:, 0])
            if (mask := self.changed.get(name)) is not None:
                # One of the values that lie side by side; `if_else` does not take lists of structs.
                both = pa.concat_arrays([*values.chunks, *self.feed.column(name).take(self.kept[:, 1]).chunks])
                values = both.take(pa.array(np.arange(len(mask)) + len(mask) * mask))
            columns.append(values)
        return Catalog(pa.table(columns, schema=SCHEMA))


def _differs(old: pa.ChunkedArray, new: pa.ChunkedArray) -> Mask:
    """Return where two columns (K,) of one type differ; null equals null."""
    if pa.types.is_nested(old.type):
        if not pa.types.is_list(old.type) or not pa.types.is_string(old.type.value_type):
            unordered = dict if pa.types.is_map(old.type) else list
            pairs = zip(map(unordered, old.to_pylist()), map(unordered, new.to_pylist()), strict=True)
            return np.fromiter((first != second for first, second in pairs), dtype=np.bool_, count=len(old))
        # Elements hold no NUL and are not empty, so that lists are equal if they are when joined.
        old, new = pc.binary_join(old, "\0"), pc.binary_join(new, "\0")
    same = pc.or_(pc.fill_null(pc.equal(old, new), False), pc.and_(pc.is_null(old), pc.is_null(new)))
    differs: Mask = ~same.to_numpy(zero_copy_only=False)
    return differs


def _with_whole_payloads(before: Catalog, feed: Catalog, kept: IntArray) -> Catalog:
    """Return a partial feed whose `kept` (K, 2) ads have, beside their payload, what it does not say of it."""
    column = feed.column("payload")
    payloads = column.to_pylist()
    old = before.column("payload").take(kept[:, 0]).to_pylist()
    for row, known in zip(kept[:, 1].tolist(), old, strict=True):
        payloads[row] = list((dict(known) | dict(payloads[row])).items())
    at = feed.table.column_names.index("payload")
    return Catalog(feed.table.set_column(at, SCHEMA.field("payload"), pa.array(payloads, column.type)))
