"""The way of a change: it gets a number, models read it if its text is new, and the next snapshot shows it.

A change makes the next snapshot and puts it in the place of the last in one step. A query that has begun keeps its
snapshot, and readers never wait. A batch gets its numbers before any model reads it. Models read outside the lock, so
that pausing an ad need not wait until ten thousand others have been read. When they have finished, the applier drops
every effect that a later change has overtaken.
"""

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from intently.catalog import Catalog
from intently.errors import InputError
from intently.live.ad_reader import AdReader
from intently.live.changes import Effect, Fields, Full, Gone, as_catalog, checked_ads, fold, is_attribute
from intently.live.difference import Difference
from intently.live.feeds import effects_of
from intently.live.merger import Merger
from intently.snapshot.attributes import ATTRIBUTE_FIELDS
from intently.snapshot.segment import CONTENT_FIELDS, Segment
from intently.snapshot.snapshot import Snapshot
from intently.types import Ad, Change

logger = logging.getLogger(__name__)


@dataclass
class _Overtaken:
    """The newest change of each ad and field since the oldest unfinished reading began."""

    whole: dict[str, int]  # ad_id → number of the newest put or delete
    fields: dict[tuple[str, str], tuple[int, Any]]  # (ad_id, field) → number and value of the newest patch


class Applier:
    """Holds the newest snapshot of an engine's ads and makes the next. Any number of threads may read and change it.

    `snapshot` is the newest. Take it once and search it as long as you like.
    """

    def __init__(self, snapshot: Snapshot, reader: AdReader) -> None:
        self.snapshot = snapshot
        self._reader = reader
        self._lock = threading.RLock()  # held while the next snapshot is made; readers do not need it
        self._settled = threading.Condition(self._lock)  # notified when a reading has ended
        self._seq = snapshot.seq  # number of the newest change that has come, shown or not
        self._next_number = snapshot.num_rows
        self._number_of: dict[str, int] = {}
        self._numbered: Snapshot | None = None  # the snapshot that `_number_of` describes
        self._being_read: dict[str, int] = {}  # ad_id → number of its unfinished readings
        self._overtaken = _Overtaken({}, {})
        self._merger = Merger(self._lock, lambda: self.snapshot, self._show_merged)
        with self._lock:
            self._numbers()

    def apply(self, changes: Iterable[Change]) -> int:
        """Apply a batch of changes, all or none, and return its number once queries see it.

        Raises `InputError` naming the position of the first change that is not valid, or that patches an ad that is
        not there.
        """
        return self._apply(fold(changes))

    def follow(self, difference: Difference) -> int:
        """Apply what a feed changes, all or none, and return its number once queries see it."""
        return self._apply(effects_of(difference))

    def add(self, new: Iterable[Ad], *, replace: bool = False) -> int:
        """Add ads, or with `replace` put them in the place of those with the same ids; all of them or none.

        Raises `InputError` naming the first ad that is not valid, is repeated or, without `replace`, exists already.
        """
        effects = {ad.ad_id: Full(ad, line) for line, ad in enumerate(checked_ads(new), start=1)}
        return self._apply(effects, must_be_new=not replace)

    def remove(self, ad_ids: Sequence[str]) -> int:
        """Remove ads by their ids, all of them or none; raise `InputError` for an unknown or a repeated id."""
        if isinstance(ad_ids, str):
            raise InputError(f"expected a list of ids, got the text {ad_ids!r}", cure=f"pass [{ad_ids!r}]")
        effects: dict[str, Effect] = {}
        for line, ad_id in enumerate(ad_ids, start=1):
            if not isinstance(ad_id, str):
                raise InputError(f"there is no ad {ad_id!r} to remove", cure="pass ids of ads that are there")
            if ad_id in effects:
                raise InputError(f"ad {ad_id!r} is to be removed twice", cure="name each ad once")
            effects[ad_id] = Gone(ad_id, line)
        return self._apply(effects, must_be_there=True)

    def number_from(self, seq: int) -> None:
        """Number further changes from `seq` on. All changes must have finished."""
        with self._lock:
            self._numbers()
            self._seq = seq
            self.snapshot = self._numbered = replace(self.snapshot, seq=seq)

    def ad(self, ad_id: str) -> Ad | None:
        """Return the ad with this id as it is now, None if it is not there."""
        with self._lock:
            snapshot, row = self.snapshot, self._row(ad_id)
        return None if row is None else snapshot.ad(row)

    def rows_in(self, snapshot: Snapshot, ad_ids: Iterable[str]) -> list[int]:
        """Return the rows of those ads that are in `snapshot`, which may be an older one."""
        numbers = [self._number_of.get(ad_id) for ad_id in ad_ids]
        rows = [snapshot.row_of(number) for number in numbers if number is not None]
        return [row for row in rows if row is not None]

    def wait(self) -> None:
        """Wait until every merge has finished."""
        self._merger.wait()

    @property
    def merge_failure(self) -> str:
        """The error of the last background merge, empty if it succeeded. A failed merge is tried again."""
        return self._merger.failure

    def _apply(self, effects: Mapping[str, Effect], *, must_be_new: bool = False, must_be_there: bool = False) -> int:
        if not effects:
            return self.snapshot.seq
        unchanged = self._unchanged([effect.ad for effect in effects.values() if isinstance(effect, Full)])
        with self._lock:
            self._numbers()
            self._check(effects, must_be_new, must_be_there)
            resolved = [self._resolved(effect, unchanged) for effect in effects.values()]
            first, last = self._seq, self._seq + max(effect.seq for effect in resolved)
            numbered = [replace(effect, seq=first + effect.seq) for effect in resolved]
            to_read = [effect for effect in numbered if isinstance(effect, Full)]
            self._seq = last
            if not to_read:
                self._publish(numbered, None, last)
                return last
            for effect in to_read:
                self._being_read[effect.ad.ad_id] = self._being_read.get(effect.ad.ad_id, 0) + 1
        try:
            catalog = as_catalog([effect.ad for effect in to_read])
            segment = self._reader.read(catalog)
            with self._lock:
                self._numbers()
                self._publish(numbered, (catalog, segment), last)
        finally:
            with self._lock:
                for effect in to_read:
                    left = self._being_read.pop(effect.ad.ad_id) - 1
                    if left:
                        self._being_read[effect.ad.ad_id] = left
                if not self._being_read:
                    self._overtaken = _Overtaken({}, {})
                self._settled.notify_all()
        return last

    def _check(self, effects: Mapping[str, Effect], must_be_new: bool, must_be_there: bool) -> None:
        """Raise `InputError` unless all effects are possible; wait for ads being read. Call with the lock held."""
        while any(self._must_wait(effect, ad_id, must_be_there) for ad_id, effect in effects.items()):
            self._settled.wait()
            self._numbers()
        for ad_id, effect in effects.items():
            there = self._row(ad_id) is not None
            if must_be_new and (there or ad_id in self._being_read):
                raise InputError(f"ad {ad_id!r} already exists", cure="pass replace=True to replace it")
            if must_be_there and not there:
                raise InputError(f"there is no ad {ad_id!r} to remove", cure="pass ids of ads that are there")
            if isinstance(effect, Fields) and not there:
                raise InputError(
                    f"there is no ad {ad_id!r} to patch", cure="put it first", path="changes", line=effect.seq
                )

    def _must_wait(self, effect: Effect, ad_id: str, must_be_there: bool) -> bool:
        """Return whether an effect builds on an ad that models are still reading. Call with the lock held."""
        if ad_id not in self._being_read:
            return False
        if isinstance(effect, Fields) and not all(map(is_attribute, effect.values)):
            return True  # a patch of text, which is one of the text on its way
        return (isinstance(effect, Fields) or must_be_there) and self._row(ad_id) is None

    def _unchanged(self, ads: Sequence[Ad]) -> dict[str, int]:
        """Return the numbers, by id, of those ads that are there with the same text. Slow: call without the lock."""
        snapshot = self.snapshot
        found: dict[str, int] = {}
        for ad in ads:
            number = self._number_of.get(ad.ad_id)
            row = None if number is None else snapshot.row_of(number)
            if number is not None and row is not None and _same_text(snapshot, row, ad):
                found[ad.ad_id] = number
        return found

    def _resolved(self, effect: Effect, unchanged: Mapping[str, int]) -> Effect:
        """Return the lightest equal effect: models read only new text. Call with the lock held."""
        if isinstance(effect, Gone):
            return effect
        ad_id = effect.ad.ad_id if isinstance(effect, Full) else effect.ad_id
        row = self._row(ad_id)
        if isinstance(effect, Fields):
            if row is None or all(map(is_attribute, effect.values)):
                return effect
            effect = Full(replace(self.snapshot.ad(row), **effect.values), effect.seq)
        number = self._number_of.get(ad_id)
        if row is None or not (unchanged.get(ad_id) == number or _same_text(self.snapshot, row, effect.ad)):
            return effect
        return _Replaced(ad_id, {name: getattr(effect.ad, name) for name in ATTRIBUTE_FIELDS}, effect.seq)

    def _publish(self, effects: Sequence[Effect], read: tuple[Catalog, Segment] | None, seq: int) -> None:
        """Show the effects that no later change has overtaken. Call with the lock held.

        Computes everything first; then one assignment shows it.
        """
        snapshot, overtaken = self.snapshot, self._overtaken
        patched: dict[int, dict[str, Any]] = {}
        removed: list[int] = []
        arrived: list[tuple[int, Full]] = []
        place = {effect.ad.ad_id: at for at, effect in enumerate(e for e in effects if isinstance(e, Full))}
        for effect in effects:
            ad_id = effect.ad.ad_id if isinstance(effect, Full) else effect.ad_id
            if overtaken.whole.get(ad_id, 0) > effect.seq:
                continue
            row = self._row(ad_id)
            if isinstance(effect, Fields):
                if row is not None:
                    newer = overtaken.fields
                    patched[row] = {
                        name: value
                        for name, value in effect.values.items()
                        if newer.get((ad_id, name), (0, None))[0] < effect.seq
                    }
                continue
            if row is not None:
                removed.append(row)
            if isinstance(effect, Full):
                arrived.append((place[ad_id], effect))
        if patched:
            snapshot = snapshot.patched(list(patched), list(patched.values()))
        if removed:
            snapshot = snapshot.without(removed)
        numbers: dict[str, int] = {}
        if arrived and read:
            snapshot, numbers = self._appended(snapshot, arrived, *read)
        if self._being_read:
            self._remember(effects)
        self.snapshot = replace(snapshot, seq=max(snapshot.seq, seq))
        for effect in effects:
            if isinstance(effect, Gone) and overtaken.whole.get(effect.ad_id, 0) <= effect.seq:
                self._number_of.pop(effect.ad_id, None)
        self._number_of.update(numbers)
        self._numbered = self.snapshot
        self._merger.merge_if_needed()

    def _appended(
        self, snapshot: Snapshot, arrived: Sequence[tuple[int, Full]], catalog: Catalog, segment: Segment
    ) -> tuple[Snapshot, dict[str, int]]:
        """Return the snapshot with the ads that arrived after it, and their numbers."""
        kept = np.zeros(segment.num_rows, dtype=np.bool_)
        kept[[at for at, _ in arrived]] = True
        segment = segment.kept(kept).numbered(self._next_number)
        catalog = catalog if kept.all() else Catalog(catalog.table.filter(pa.array(kept)))
        snapshot = snapshot.appended(segment, catalog)
        self._next_number += segment.num_rows
        numbers = dict(zip(catalog.strings("ad_id"), segment.numbers.tolist(), strict=True))
        newer = [(numbers[effect.ad.ad_id], fields) for _, effect in arrived if (fields := self._newer_fields(effect))]
        if newer:
            first = snapshot.num_rows - segment.num_rows - int(segment.numbers[0])
            snapshot = snapshot.patched([first + number for number, _ in newer], [fields for _, fields in newer])
        return snapshot, numbers

    def _newer_fields(self, effect: Full) -> dict[str, Any]:
        """Return the values of patches that came after a put and were shown before it."""
        fields = self._overtaken.fields
        return {
            name: newer[1]
            for name in ATTRIBUTE_FIELDS
            if (newer := fields.get((effect.ad.ad_id, name))) and newer[0] > effect.seq
        }

    def _remember(self, effects: Sequence[Effect]) -> None:
        """Note the effects that were shown, for unfinished readings that came before them."""
        for effect in effects:
            if isinstance(effect, Fields) and not isinstance(effect, _Replaced):
                for name, value in effect.values.items():
                    key = effect.ad_id, name
                    if self._overtaken.fields.get(key, (0, None))[0] < effect.seq:
                        self._overtaken.fields[key] = effect.seq, value
            else:
                ad_id = effect.ad.ad_id if isinstance(effect, Full) else effect.ad_id
                self._overtaken.whole[ad_id] = max(effect.seq, self._overtaken.whole.get(ad_id, 0))

    def _show_merged(self, snapshot: Snapshot) -> None:
        """Make a snapshot of the same ads, merged, the newest. Call with the lock held."""
        is_whole = self._numbered is self.snapshot
        self.snapshot = snapshot
        if is_whole:  # a merge moves rows, not numbers
            self._numbered = snapshot

    def _row(self, ad_id: str) -> int | None:
        number = self._number_of.get(ad_id)
        return None if number is None else self.snapshot.row_of(number)

    def _numbers(self) -> None:
        """Make `_number_of` describe the newest snapshot, also after a change that was interrupted."""
        if self._numbered is self.snapshot:
            return
        numbers: dict[str, int] = {}
        for segment in self.snapshot.segments:
            numbers.update(zip(segment.content.column("ad_id").to_pylist(), segment.numbers.tolist(), strict=True))
            self._next_number = max(self._next_number, int(segment.numbers[-1]) + 1 if segment.num_rows else 0)
        self._number_of = numbers
        self._numbered = self.snapshot


def _same_text(snapshot: Snapshot, row: int, ad: Ad) -> bool:
    segment, at = snapshot.locate(row)
    if segment.content.column("title")[at].as_py() != ad.title:  # mostly enough, and ten times as fast
        return False
    before = segment.content_of(at)
    return all(before[name] == getattr(ad, name) for name in CONTENT_FIELDS)


class _Replaced(Fields):
    """A put whose text did not change: it sets all attributes, and no older put may overwrite it."""
