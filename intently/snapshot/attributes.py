"""Attributes: the fields of an ad that may change without a model reading it again, and who may see it.

Status, bid, targeting and payload lie in columns of their own, apart from an ad's content. A change copies the columns
that it touches and shares the others, so older snapshots stay as they were.

Shape letters: N rows, S distinct sets of one column.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from intently.arrays import Float64Array, IntArray, Mask
from intently.catalog import Catalog, CheckedUser, parse_day_parts
from intently.catalog.serving_words import STATUSES
from intently.snapshot.payloads import PayloadColumn

Codes = NDArray[np.int32]

SET_FIELDS = ("countries", "languages", "devices", "day_parts", "audiences")
ATTRIBUTE_FIELDS = ("bid", "status", *SET_FIELDS, "payload")
_CACHE_BYTES = 8 << 20  # of masks that one column keeps; bounded, because users may bring any audiences
_LISTS = pa.list_(pa.string())
_SPARE_SETS = 4096  # unused sets that a column keeps before it forgets them


class _Sets:
    """The distinct sets of one column, numbered in order of arrival. Number 0 is the empty set. Sets are only added."""

    def __init__(self) -> None:
        self.sets: list[tuple[str, ...]] = [()]
        self._code_of: dict[tuple[str, ...], int] = {(): 0}
        self._codes_with: dict[str, list[int]] = {}
        self._hours: list[Mask | None] = [None]

    def __len__(self) -> int:
        return len(self.sets)

    def code(self, values: tuple[str, ...]) -> int:
        """Return the number of a set, new or known. One writer at a time."""
        code = self._code_of.get(values)
        if code is None:
            code = len(self.sets)
            for value in dict.fromkeys(values):
                self._codes_with.setdefault(value, []).append(code)
            self._hours.append(None)
            self.sets.append(values)
            self._code_of[values] = code
        return code

    def with_any(self, values: Iterable[str], num_sets: int) -> Mask:
        """Return which of the first sets (S,) are empty or hold any of `values`."""
        admitted = np.zeros(num_sets, dtype=np.bool_)
        admitted[0] = True
        for value in values:
            codes = np.array(self._codes_with.get(value, ()), dtype=np.int64)
            admitted[codes[codes < num_sets]] = True
        return admitted

    def having(self, value: str, num_sets: int) -> Mask:
        """Return which of the first sets (S,) hold a value."""
        holds = np.zeros(num_sets, dtype=np.bool_)
        codes = np.array(self._codes_with.get(value, ()), dtype=np.int64)
        holds[codes[codes < num_sets]] = True
        return holds

    def open_at(self, hour_of_week: int, num_sets: int) -> Mask:
        """Return which of the first sets (S,), taken as day parts, cover an hour of the week."""
        admitted = np.ones(num_sets, dtype=np.bool_)
        for code in range(1, num_sets):
            hours = self._hours[code]
            if hours is None:
                hours = self._hours[code] = parse_day_parts(self.sets[code])
            admitted[code] = hours[hour_of_week]
        return admitted


class SetColumn:
    """A column of sets of texts: row n holds the set number `codes[n]` of those known so far.

    Masks are computed for distinct sets, not row by row, and the last ones asked for are kept within a fixed budget.
    """

    def __init__(self, codes: Codes, sets: _Sets) -> None:
        self.codes = codes
        self._sets, self._num_sets = sets, len(sets)
        self._masks: OrderedDict[frozenset[str] | int, Mask] = OrderedDict()
        self._max_masks = max(2, _CACHE_BYTES // max(len(codes), 1))

    @classmethod
    def build(cls, lists: pa.ChunkedArray | pa.Array) -> "SetColumn":
        """Return the column of these lists of texts (N)."""
        sets = _Sets()
        return cls(_coded(lists, sets), sets)

    def admitting(self, asked: frozenset[str] | int) -> Mask:
        """Return the rows (N,) whose set is empty or holds any text asked for, or covers an hour of the week."""
        mask = self._masks.get(asked)
        if mask is None:
            if isinstance(asked, int):
                admitted = self._sets.open_at(asked, self._num_sets)
            else:
                admitted = self._sets.with_any(asked, self._num_sets)
            mask = admitted[self.codes]
            self._masks[asked] = mask
            while len(self._masks) > self._max_masks:
                try:
                    self._masks.popitem(last=False)
                except KeyError:  # another thread was quicker
                    break
        return mask

    def holding(self, value: str) -> Mask:
        """Return the rows (N,) whose set has this text."""
        return self._sets.having(value, self._num_sets)[self.codes]

    def of(self, row: int) -> tuple[str, ...]:
        """Return the set of one row."""
        return self._sets.sets[int(self.codes[row])]

    def values(self) -> list[tuple[str, ...]]:
        """Return the sets of all rows (N)."""
        return [self._sets.sets[code] for code in self.codes.tolist()]

    def changed(self, rows: IntArray, values: Sequence[tuple[str, ...]]) -> "SetColumn":
        """Return this column with other sets in some rows."""
        codes = self.codes.copy()
        codes[rows] = [self._sets.code(each) for each in values]
        if len(self._sets) > 2 * len(codes) + _SPARE_SETS:
            return SetColumn.build(pa.array([list(self._sets.sets[code]) for code in codes.tolist()], _LISTS))
        return SetColumn(codes, self._sets)

    def concatenated(self, lists: pa.ChunkedArray | pa.Array) -> "SetColumn":
        """Return this column with further rows after it."""
        return SetColumn(np.concatenate((self.codes, _coded(lists, self._sets))), self._sets)

    def kept(self, mask: Mask) -> "SetColumn":
        """Return the rows where `mask (N,)` holds."""
        return SetColumn(self.codes[mask], self._sets)


def _coded(lists: pa.ChunkedArray | pa.Array, sets: _Sets) -> Codes:
    """Return the numbers (N,) of lists of texts. Empty lists cost nothing, as most ads target nobody in particular."""
    codes = np.zeros(len(lists), dtype=np.int32)
    filled = np.flatnonzero(pc.list_value_length(lists).to_numpy(zero_copy_only=False))
    if len(filled):
        codes[filled] = [sets.code(tuple(each)) for each in lists.take(pa.array(filled)).to_pylist()]
    return codes


@dataclass(frozen=True, eq=False)
class Attributes:
    """The attributes of N rows. `statuses (N,)` are positions in `STATUSES`; an unknown bid is NaN."""

    statuses: NDArray[np.int8]
    bids: Float64Array
    sets: Mapping[str, SetColumn]  # by `SET_FIELDS`
    payloads: PayloadColumn

    @classmethod
    def of(cls, catalog: Catalog) -> "Attributes":
        """Return the attributes of a catalog's ads."""
        values = _columns(catalog)
        sets = {name: SetColumn.build(values[name]) for name in SET_FIELDS}
        return cls(values["status"], values["bid"], sets, PayloadColumn.build(values["payload"]))

    def __len__(self) -> int:
        return len(self.statuses)

    @cached_property
    def active(self) -> Mask:
        """Which ads (N,) are active."""
        active: Mask = self.statuses == STATUSES.index("active")
        return active

    def eligible(self, user: CheckedUser) -> Mask:
        """Return which ads (N,) may be shown: active, and wanting this user in every field that the user states."""
        mask = self.active
        stated: dict[str, frozenset[str] | int | None] = {
            "countries": None if user.country is None else frozenset((user.country,)),
            "languages": None if user.language is None else frozenset((user.language,)),
            "devices": None if user.device is None else frozenset((user.device,)),
            "audiences": user.audiences,
            "day_parts": user.hour_of_week,
        }
        for name, asked in stated.items():
            if asked is not None:
                mask = mask & self.sets[name].admitting(asked)
        return mask

    def of_row(self, row: int) -> dict[str, Any]:
        """Return the attributes of one row, as the fields of an `Ad`."""
        bid = float(self.bids[row])
        values: dict[str, Any] = {"bid": None if np.isnan(bid) else bid, "status": STATUSES[self.statuses[row]]}
        values |= {name: column.of(row) for name, column in self.sets.items()}
        return values | {"payload": self.payloads.of(row)}

    def changed(self, rows: Sequence[int], values: Sequence[Mapping[str, Any]]) -> "Attributes":
        """Return these attributes with some fields of some rows changed. Cost: a copy of each column touched."""
        touched: dict[str, tuple[list[int], list[Any]]] = {}
        for row, fields in zip(rows, values, strict=True):
            for name, value in fields.items():
                at, new = touched.setdefault(name, ([], []))
                at.append(row)
                new.append(value)
        after = self
        sets = dict(self.sets)
        for name, (at, new) in touched.items():
            where = np.array(at, dtype=np.int64)
            if name == "bid":
                bids = self.bids.copy()
                bids[where] = [np.nan if bid is None else bid for bid in new]
                after = replace(after, bids=bids)
            elif name == "status":
                statuses = self.statuses.copy()
                statuses[where] = [STATUSES.index(status) for status in new]
                after = replace(after, statuses=statuses)
            elif name == "payload":
                after = replace(after, payloads=self.payloads.changed(where, new))
            else:
                sets[name] = sets[name].changed(where, new)
        return replace(after, sets=sets)

    def concatenated(self, catalog: Catalog) -> "Attributes":
        """Return these attributes and, after them, those of a catalog's ads."""
        values = _columns(catalog)
        return Attributes(
            np.concatenate((self.statuses, values["status"])),
            np.concatenate((self.bids, values["bid"])),
            {name: column.concatenated(values[name]) for name, column in self.sets.items()},
            self.payloads.concatenated(values["payload"]),
        )

    def kept(self, mask: Mask) -> "Attributes":
        """Return the attributes of the rows where `mask (N,)` holds."""
        kept = {name: column.kept(mask) for name, column in self.sets.items()}
        return Attributes(self.statuses[mask], self.bids[mask], kept, self.payloads.kept(mask))

    def columns(self) -> dict[str, pa.Array | pa.ChunkedArray]:
        """Return the attributes as columns (N,) of a catalog."""
        bids = pa.array(self.bids, mask=np.isnan(self.bids))
        statuses = pa.array(np.array(STATUSES, dtype=object)[self.statuses], pa.string())
        lists = {name: pa.array([list(each) for each in column.values()], _LISTS) for name, column in self.sets.items()}
        return {"bid": bids, "status": statuses, **lists, "payload": self.payloads.column()}


def _columns(catalog: Catalog) -> dict[str, Any]:
    """Return the attributes of a catalog: statuses and bids as arrays, sets and payloads as columns."""
    bids = catalog.column("bid").to_numpy(zero_copy_only=False).astype(np.float64)
    statuses = pc.index_in(catalog.column("status"), pa.array(STATUSES)).to_numpy(zero_copy_only=False).astype(np.int8)
    return {"bid": bids, "status": statuses, **{name: catalog.column(name) for name in (*SET_FIELDS, "payload")}}
