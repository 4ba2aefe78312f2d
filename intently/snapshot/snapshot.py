"""All ads at one moment. A query searches one snapshot from beginning to end, whatever changes meanwhile.

Ads lie in segments, oldest first: a large one, as it was built or last merged, and small ones of ads that came since.
Removed ads stay in place, masked, until segments are merged. Attributes lie apart from segments, over all rows.
"""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from intently.arrays import IntArray, Mask
from intently.catalog import Catalog, CheckedUser
from intently.catalog.columns import SCHEMA
from intently.filters import Expression, OneOf
from intently.filters.expressions import MAX_VALUES
from intently.index.lexical import query_reader
from intently.rules.presets import PRESETS, MatchRules
from intently.snapshot.attributes import ATTRIBUTE_FIELDS, Attributes
from intently.snapshot.columns import matching
from intently.snapshot.lists import BLOCKED_BY, SharedLists
from intently.snapshot.segment import Segment
from intently.text.query_text import QueryReader
from intently.types import Ad, BlockList

_CACHE_BYTES = 8 << 20  # of the masks of filters that a snapshot keeps


@dataclass(frozen=True, eq=False)
class Snapshot:
    """N ads, living and removed, in segments; an `ad_row` counts through them. `alive (N,)`: not removed.

    A snapshot never changes: methods that change ads return another one, in which an ad may have another row. `seq` is
    the number of the newest change that this snapshot shows. `reader` reads queries with the words of all segments.
    `known_words` are never corrected, even if no ad has them.
    """

    segments: tuple[Segment, ...]
    attributes: Attributes
    alive: Mask
    reader: QueryReader
    known_words: Container[str] = frozenset()
    seq: int = 0
    lists: SharedLists = field(default_factory=SharedLists)

    @classmethod
    def of(
        cls,
        segment: Segment,
        attributes: Attributes,
        known_words: Container[str] = frozenset(),
        seq: int = 0,
        rules: MatchRules = PRESETS["google"],
    ) -> "Snapshot":
        """Return the snapshot of one segment, all ads living. `rules` say what keywords match."""
        segments, alive = (segment.warmed(rules),), np.ones(segment.num_rows, dtype=np.bool_)
        lists = SharedLists(rules)
        return cls(segments, attributes, alive, _reader(segments, known_words), known_words, seq, lists)

    @property
    def num_rows(self) -> int:
        """Number of rows N, those of removed ads included."""
        return len(self.alive)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """The first row of each segment and, last, N."""
        return (0, *accumulate(segment.num_rows for segment in self.segments))

    @cached_property
    def catalog(self) -> Catalog:
        """The living ads, in order of arrival. Cost: a copy of every column."""
        content = pa.concat_tables([segment.content for segment in self.segments])
        columns = {name: content.column(name) for name in content.column_names} | self.attributes.columns()
        table = pa.table([columns[name] for name in SCHEMA.names], schema=SCHEMA)
        return Catalog(table if self.alive.all() else table.filter(pa.array(self.alive)))

    def place(self, ad_row: int) -> tuple[int, int]:
        """Return the number of the segment that a row lies in, and the row within it."""
        at = bisect_right(self.starts, ad_row) - 1
        return at, ad_row - self.starts[at]

    def locate(self, ad_row: int) -> tuple[Segment, int]:
        """Return the segment that a row lies in, and the row within it."""
        at, row = self.place(ad_row)
        return self.segments[at], row

    def ad_id(self, ad_row: int) -> str:
        """Return the id of one row."""
        segment, row = self.locate(ad_row)
        return segment.ad_id(row)

    def ad(self, ad_row: int) -> Ad:
        """Return one row as an `Ad`."""
        segment, row = self.locate(ad_row)
        return Ad(segment.ad_id(row), **segment.content_of(row), **self.attributes.of_row(ad_row))

    def field_of(self, ad_row: int, name: str) -> Any:
        """Return one field of one ad."""
        if name in ATTRIBUTE_FIELDS:
            return self.attributes.of_row(ad_row)[name]
        segment, row = self.locate(ad_row)
        return segment.field_of(row, name)

    def row_of(self, number: int) -> int | None:
        """Return the row of the ad with this number, None if it was removed."""
        row = int(self.rows_of(np.array([number]))[0])
        return None if row < 0 else row

    def rows_of(self, numbers: IntArray) -> IntArray:
        """Return the rows (M,) of the ads with these numbers (M,), −1 for those that were removed.

        Cost: a binary search in each segment for all numbers together, so ask once for many ads.
        """
        rows = np.full(len(numbers), -1, dtype=np.int64)
        for segment, start in zip(self.segments, self.starts, strict=False):
            if segment.num_rows:
                at = np.searchsorted(segment.numbers, numbers).clip(max=segment.num_rows - 1)
                rows = np.where(segment.numbers[at] == numbers, start + at, rows)
        there = rows >= 0
        there[there] = self.alive[rows[there]]
        return np.where(there, rows, -1)

    @property
    def rules(self) -> MatchRules:
        """What keywords match."""
        return self.lists.rules

    @cached_property
    def has_match_types(self) -> bool:
        """Whether any ad has a keyword with a match type."""
        return any(segment.has_match_types for segment in self.segments)

    def eligible(self, user: CheckedUser, query: str = "") -> Mask:
        """Return which rows (N,) may be shown to a user for a query: living, active, admitted by every rule."""
        mask = self.attributes.eligible(user) & self.alive
        if self.lists.values:
            mask &= ~self._blocked
        if not query:
            return mask
        refused = self.attributes.refusing(query, self.known_words)
        if refused is not None:
            mask &= ~refused
        if self.lists.names:
            found = self.lists.matching(query, self.known_words)
            if BlockList.TERMS in found:
                mask[:] = False
            elif found:
                mask &= ~self.attributes.sets["negative_lists"].holding_any(found)
        return mask

    @cached_property
    def _blocked(self) -> Mask:
        """Which rows (N,) a block list names."""
        blocked = np.zeros(self.num_rows, dtype=np.bool_)
        for block, name in BLOCKED_BY.items():
            values = self.lists.blocked(block)
            if name == "labels":
                blocked |= self.attributes.sets[name].holding_any(values)
                continue
            for start in range(0, len(values), MAX_VALUES):
                blocked |= matching(OneOf(name, values[start : start + MAX_VALUES]), self)
        return blocked

    def matching(self, expression: Expression) -> Mask:
        """Return which rows (N,) a condition is true of; do not change the result.

        `check_columns` must have accepted it. The last masks asked for are kept, within a fixed budget.
        """
        key, masks = str(expression), self._masks
        mask = masks.get(key)
        if mask is None:
            mask = masks[key] = matching(expression, self)
            while len(masks) > max(2, _CACHE_BYTES // max(self.num_rows, 1)):
                try:
                    masks.popitem(last=False)
                except KeyError:  # another thread was quicker
                    break
        return mask

    @cached_property
    def _masks(self) -> OrderedDict[str, Mask]:
        return OrderedDict()

    def gather(self, ad_rows: IntArray, part_of: Callable[[Segment, IntArray], NDArray[Any]]) -> NDArray[Any]:
        """Return the values of `part_of(segment, rows within it)` for some rows (C, …), in their order."""
        if len(self.segments) == 1 or not len(ad_rows) or ad_rows.max() < self.starts[1]:
            return part_of(self.segments[0], ad_rows)
        place = np.searchsorted(self.starts, ad_rows, side="right") - 1
        gathered: NDArray[Any] | None = None
        for at in np.unique(place).tolist():
            chosen = place == at
            part = part_of(self.segments[at], ad_rows[chosen] - self.starts[at])
            if gathered is None:
                gathered = np.empty((len(ad_rows), *part.shape[1:]), dtype=part.dtype)
            gathered[chosen] = part
        assert gathered is not None
        return gathered

    # Changes. `intently.live` makes them, one after the other.

    def appended(self, new: Segment, catalog: Catalog) -> "Snapshot":
        """Return these ads and, after them, those of `new`, whose attributes are those of `catalog`."""
        segments = (*self.segments, new.warmed(self.rules))
        return replace(
            self,
            segments=segments,
            reader=_reader(segments, self.known_words),
            attributes=self.attributes.concatenated(catalog),
            alive=np.concatenate((self.alive, np.ones(new.num_rows, dtype=np.bool_))),
        )

    def without(self, ad_rows: Sequence[int]) -> "Snapshot":
        """Return these ads without some rows."""
        alive = self.alive.copy()
        alive[np.array(ad_rows, dtype=np.int64)] = False
        return replace(self, alive=alive)

    def with_list(self, name: str, values: tuple[str, ...]) -> "Snapshot":
        """Return these ads with other values of a list that they share; without values it is gone."""
        return replace(self, lists=self.lists.having(name, values).warmed())

    def patched(self, ad_rows: Sequence[int], fields: Sequence[dict[str, Any]]) -> "Snapshot":
        """Return these ads with other attributes in some rows."""
        return replace(self, attributes=self.attributes.changed(ad_rows, fields))

    def merged(self, first: int, last: int) -> Segment:
        """Return one segment of the living ads in the segments from `first` to before `last`, in order.

        Cost: a copy of all that is kept, and a coarse stage if the segment is large enough for one.
        """
        parts = [self.segments[at].kept(self.alive[self.starts[at] : self.starts[at + 1]]) for at in range(first, last)]
        merged = parts.pop()
        for part in reversed(parts):  # from the youngest, as older ones are larger: so each is copied once, or nearly
            merged = part.concatenated(merged)
        return merged.warmed(self.rules)

    def rebased(self, before: "Snapshot", first: int, last: int, merged: Segment) -> "Snapshot":
        """Return these ads with `merged` in the place of the segments that it was made of.

        `merged` is the result of `before.merged(first, last)`, and `before` an earlier snapshot. Ads that were removed
        since then stay in `merged`, masked.
        """
        stays = np.ones(self.num_rows, dtype=np.bool_)
        rows = slice(before.starts[first], before.starts[last])
        stays[rows] = before.alive[rows]
        segments = (*self.segments[:first], merged, *self.segments[last:])
        return replace(
            self,
            segments=segments,
            reader=_reader(segments, self.known_words),
            attributes=self.attributes.kept(stays),
            alive=self.alive[stays],
        )


def _reader(segments: Sequence[Segment], known_words: Container[str]) -> QueryReader:
    return query_reader([segment.lexical for segment in segments], known_words)
