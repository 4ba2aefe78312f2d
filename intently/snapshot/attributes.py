"""Attributes: the fields of an ad that may change without a model reading it again, and who may see it.

Status, bid, targeting and payload lie in columns of their own, apart from an ad's content. A change copies the columns
that it touches and shares the others, so older snapshots stay as they were.

Shape letters: N rows, S distinct sets of one column.
"""

import time
from collections import OrderedDict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from intently.arrays import Float64Array, IntArray, Mask
from intently.catalog import Catalog, CheckedUser
from intently.catalog.day_parts import is_open, split_zone
from intently.catalog.serving_words import STATUSES
from intently.catalog.user_conditions import seconds
from intently.index.keywords import KeywordIndex
from intently.index.targeting import TargetingIndex
from intently.rules.presets import PRESETS, MatchRules
from intently.rules.targeting import parse_targeting
from intently.snapshot.payloads import PayloadColumn
from intently.snapshot.tiers import Tiers

Codes = NDArray[np.int32]

SET_FIELDS = (
    "countries", "languages", "devices", "day_parts", "audiences", "negative_keywords", "negative_lists", "labels"
)  # fmt: skip
TEXT_FIELDS = ("targeting", "starts", "ends")  # kept as sets of one text
ATTRIBUTE_FIELDS = ("bid", "status", *SET_FIELDS, *TEXT_FIELDS, "payload")
_CACHE_BYTES = 8 << 20  # of masks that one column keeps; bounded, because users may bring any audiences
_QUARTER_S = 900
_LISTS = pa.list_(pa.string())
_SPARE_SETS = 4096  # unused sets that a column keeps before it forgets them


class _Sets:
    """The distinct sets of one column, numbered in order of arrival. Number 0 is the empty set. Sets are only added."""

    def __init__(self) -> None:
        self.sets: list[tuple[str, ...]] = [()]
        self._code_of: dict[tuple[str, ...], int] = {(): 0}
        self._codes_with: dict[str, list[int]] = {}
        self.has_zones = False  # whether any set, taken as day parts, names a time zone
        self._seconds: list[float] = [np.nan]

    def __len__(self) -> int:
        return len(self.sets)

    def code(self, values: tuple[str, ...]) -> int:
        """Return the number of a set, new or known. One writer at a time."""
        code = self._code_of.get(values)
        if code is None:
            code = len(self.sets)
            for value in dict.fromkeys(values):
                self._codes_with.setdefault(value, []).append(code)
            self.has_zones = self.has_zones or any("@" in value and split_zone(value)[1] for value in values)
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

    def open_at(self, when: "When", num_sets: int) -> Mask:
        """Return which of the first sets (S,), taken as day parts, cover an hour of the user's week and an instant."""
        instant = float(when.quarter * _QUARTER_S)
        return np.array([is_open(parts, when.hour_of_week, instant) for parts in self.sets[:num_sets]], dtype=np.bool_)

    def seconds(self, num_sets: int) -> Float64Array:
        """Return the first sets (S,), taken as instants, in seconds since 1970, NaN for none."""
        while len(self._seconds) < num_sets:
            self._seconds.append(seconds(self.sets[len(self._seconds)][0]))
        return np.array(self._seconds[:num_sets])


class When(NamedTuple):
    """An hour of a user's week, None if it is unknown, and an instant in quarters of an hour since 1970.

    The offsets of all time zones are whole quarters.
    """

    hour_of_week: int | None
    quarter: int


class SetColumn:
    """A column of sets of texts: row n holds the set number `codes[n]` of those known so far.

    Masks are computed for distinct sets, not row by row, and the last ones asked for are kept within a fixed budget.
    """

    def __init__(self, codes: Codes, sets: _Sets) -> None:
        self.codes = codes
        self._sets, self._num_sets = sets, len(sets)
        self._masks: OrderedDict[frozenset[str] | When, Mask] = OrderedDict()
        self._max_masks = max(2, _CACHE_BYTES // max(len(codes), 1))

    @classmethod
    def build(cls, lists: pa.ChunkedArray | pa.Array) -> "SetColumn":
        """Return the column of these lists of texts (N)."""
        sets = _Sets()
        return cls(_coded(lists, sets), sets)

    @property
    def source(self) -> object:
        """What holds the sets: the same for columns that number them alike."""
        return self._sets

    @property
    def num_sets(self) -> int:
        """Number of distinct sets S known so far, the empty one included."""
        return self._num_sets

    @property
    def has_zones(self) -> bool:
        """Whether any set, taken as day parts, names a time zone."""
        return self._sets.has_zones

    def sets(self, start: int, stop: int) -> Sequence[tuple[str, ...]]:
        """Return some of the sets by number."""
        return self._sets.sets[start:stop]

    def seconds(self) -> Float64Array:
        """Return the sets (S,), taken as instants, in seconds since 1970, NaN for none."""
        return self._sets.seconds(self._num_sets)

    def admitting(self, asked: frozenset[str] | When) -> Mask:
        """Return the rows (N,) whose set is empty or holds any text asked for, or covers a time."""
        mask = self._masks.get(asked)
        if mask is None:
            if isinstance(asked, When):
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

    def holding_any(self, values: Iterable[str]) -> Mask:
        """Return the rows (N,) whose set has any of some texts."""
        admitted = self._sets.with_any(values, self._num_sets)
        admitted[0] = False
        return admitted[self.codes]

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


def _negatives(rules: MatchRules, sets: Sequence[tuple[str, ...]]) -> KeywordIndex:
    return KeywordIndex.build(sets, rules, is_negative=True).warmed()


def _conditions(sets: Sequence[tuple[str, ...]]) -> TargetingIndex:
    """Return the index of conditions, each a set of one text; an empty set is true of everybody."""
    return TargetingIndex.build([parse_targeting(texts[0]) if texts else None for texts in sets])


@dataclass(frozen=True, eq=False)
class Attributes:
    """The attributes of N rows. `statuses (N,)` are positions in `STATUSES`; an unknown bid is NaN."""

    statuses: NDArray[np.int8]
    bids: Float64Array
    sets: Mapping[str, SetColumn]  # by `SET_FIELDS` and `TEXT_FIELDS`
    payloads: PayloadColumn
    negatives: Tiers[KeywordIndex]  # of the sets of negative keywords
    conditions: Tiers[TargetingIndex]  # of those of targeting

    @classmethod
    def of(cls, catalog: Catalog, rules: MatchRules = PRESETS["google"]) -> "Attributes":
        """Return the attributes of a catalog's ads. `rules` say what negative keywords match."""
        values = _columns(catalog)
        sets = {name: SetColumn.build(values[name]) for name in (*SET_FIELDS, *TEXT_FIELDS)}
        negatives = Tiers(partial(_negatives, rules)).following(sets["negative_keywords"])
        conditions = Tiers(_conditions).following(sets["targeting"])
        payloads = PayloadColumn.build(values["payload"])
        return cls(values["status"], values["bid"], sets, payloads, negatives, conditions)

    def __len__(self) -> int:
        return len(self.statuses)

    @cached_property
    def active(self) -> Mask:
        """Which ads (N,) are active."""
        active: Mask = self.statuses == STATUSES.index("active")
        return active

    def eligible(self, user: CheckedUser) -> Mask:
        """Return which ads (N,) may be shown: active, and wanting this user and this moment.

        Of the lists of an ad only those count for which the user states a value; a condition counts in any case.
        """
        mask = self.active
        instant = time.time() if user.instant is None else user.instant
        when = None
        if user.hour_of_week is not None or self.sets["day_parts"].has_zones:
            when = When(user.hour_of_week, int(instant // _QUARTER_S))
        stated: dict[str, frozenset[str] | When | None] = {
            "countries": None if user.country is None else frozenset((user.country,)),
            "languages": None if user.language is None else frozenset((user.language,)),
            "devices": None if user.device is None else frozenset((user.device,)),
            "audiences": user.audiences,
            "day_parts": when,
        }
        for name, asked in stated.items():
            if asked is not None:
                mask = mask & self.sets[name].admitting(asked)
        if (starts := self.sets["starts"]).num_sets > 1:
            mask = mask & ~(starts.seconds() > instant)[starts.codes]
        if (ends := self.sets["ends"]).num_sets > 1:
            mask = mask & ~(ends.seconds() <= instant)[ends.codes]
        if self.sets["targeting"].num_sets > 1:
            stated_values = user.stated
            admitted = np.concatenate([part.true_of(stated_values) for part in self.conditions.parts])
            mask = mask & admitted[self.sets["targeting"].codes]
        return mask

    def refusing(self, query: str, known: Container[str]) -> Mask | None:
        """Return which ads (N,) have a negative keyword of their own that matches a query; None for no ad."""
        column = self.sets["negative_keywords"]
        if column.num_sets == 1:
            return None
        refused = np.zeros(column.num_sets, dtype=np.bool_)
        for part, start in zip(self.negatives.parts, self.negatives.bounds, strict=False):
            for number in part.matching(query, known):
                refused[start + part.rows(number)] = True
        return refused[column.codes] if refused.any() else None

    def of_row(self, row: int) -> dict[str, Any]:
        """Return the attributes of one row, as the fields of an `Ad`."""
        bid = float(self.bids[row])
        values: dict[str, Any] = {"bid": None if np.isnan(bid) else bid, "status": STATUSES[self.statuses[row]]}
        values |= {name: self.sets[name].of(row) for name in SET_FIELDS}
        values |= {name: "".join(self.sets[name].of(row)) for name in TEXT_FIELDS}
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
                if name in TEXT_FIELDS:
                    new = [(text,) if text else () for text in new]
                sets[name] = sets[name].changed(where, new)
        return after._having(sets)

    def _having(self, sets: Mapping[str, SetColumn]) -> "Attributes":
        """Return these attributes with other sets, and the indexes of their rules."""
        negatives = self.negatives.following(sets["negative_keywords"])
        return replace(self, sets=sets, negatives=negatives, conditions=self.conditions.following(sets["targeting"]))

    def concatenated(self, catalog: Catalog) -> "Attributes":
        """Return these attributes and, after them, those of a catalog's ads."""
        values = _columns(catalog)
        sets = {name: column.concatenated(values[name]) for name, column in self.sets.items()}
        return replace(
            self,
            statuses=np.concatenate((self.statuses, values["status"])),
            bids=np.concatenate((self.bids, values["bid"])),
            payloads=self.payloads.concatenated(values["payload"]),
        )._having(sets)

    def kept(self, mask: Mask) -> "Attributes":
        """Return the attributes of the rows where `mask (N,)` holds."""
        kept = {name: column.kept(mask) for name, column in self.sets.items()}
        return replace(
            self, statuses=self.statuses[mask], bids=self.bids[mask], payloads=self.payloads.kept(mask)
        )._having(kept)

    def columns(self) -> dict[str, pa.Array | pa.ChunkedArray]:
        """Return the attributes as columns (N,) of a catalog."""
        bids = pa.array(self.bids, mask=np.isnan(self.bids))
        statuses = pa.array(np.array(STATUSES, dtype=object)[self.statuses], pa.string())
        lists = {name: pa.array([list(each) for each in self.sets[name].values()], _LISTS) for name in SET_FIELDS}
        return {"bid": bids, "status": statuses, **lists, **self.texts(), "payload": self.payloads.column()}

    def texts(self) -> dict[str, pa.Array]:
        """Return the `TEXT_FIELDS` as columns (N,)."""
        return {
            name: pa.array(["".join(each) for each in self.sets[name].values()], pa.string()) for name in TEXT_FIELDS
        }


def _columns(catalog: Catalog) -> dict[str, Any]:
    """Return the attributes of a catalog: statuses and bids as arrays, sets and payloads as columns."""
    bids = catalog.column("bid").to_numpy(zero_copy_only=False).astype(np.float64)
    statuses = pc.index_in(catalog.column("status"), pa.array(STATUSES)).to_numpy(zero_copy_only=False).astype(np.int8)
    texts = {name: _as_sets(catalog.column(name)) for name in TEXT_FIELDS}
    lists = {name: catalog.column(name) for name in (*SET_FIELDS, "payload")}
    return {"bid": bids, "status": statuses, **lists, **texts}


def _as_sets(texts: pa.ChunkedArray) -> pa.Array:
    """Return texts (N,) as lists of one text, or none if it is empty."""
    filled = pc.not_equal(texts, "").to_numpy(zero_copy_only=False)
    offsets = np.concatenate(([0], np.cumsum(filled))).astype(np.int32)
    values = texts.filter(pa.array(filled)).combine_chunks()
    return pa.ListArray.from_arrays(pa.array(offsets), values)
