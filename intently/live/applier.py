"""The way of a change: models read it if its text is new, it goes to the log, and the next snapshot shows it.

A change makes the next snapshot and puts it in the place of the last in one step. A query that has begun keeps its
snapshot, and readers never wait. A batch is numbered on entry, before any model reads it. Models read outside the lock,
so that pausing an ad need not wait until ten thousand others have been read. When they have finished, the applier drops
every effect that a later change has overtaken. The others get the numbers (`seq`) by which the log and everybody else
knows them; a batch is shown once they are on disk. So the log holds changes in the order in which they took effect, and
replaying it needs to know nothing of how they were asked for.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace

import numpy as np

from intently.errors import BehindError, InputError, LogError, LogRewoundError, ReplacedError
from intently.live.ad_reader import AdReader, ReadAds
from intently.live.changes import (
    Effect,
    Fields,
    Full,
    Gone,
    Listed,
    Replaced,
    as_catalog,
    checked_ads,
    fold,
    is_attribute,
)
from intently.live.difference import Difference
from intently.live.effects import after, has_text
from intently.live.feeds import effects_of
from intently.live.log.base import ChangeLog, Reading, Receipt
from intently.live.log.entries import Entry, digest_of_content
from intently.live.logged import logged
from intently.live.merger import Merger
from intently.live.numbers import AdNumbers
from intently.live.overtaken import Overtaken
from intently.live.parts import AdParts
from intently.live.replaying import unfold
from intently.snapshot.snapshot import Snapshot
from intently.types import Ad, Change, PutList

logger = logging.getLogger(__name__)

_REPLAYED_AT_ONCE = 10_000  # ads of the log that become a segment together
_POLL_S = 0.02  # between two looks at the log, while somebody waits for a change


class Applier:
    """Holds the newest snapshot of an engine's ads and makes the next. Any number of threads may read and change it.

    `snapshot` is the newest. Take it once and search it as long as you like.
    """

    def __init__(self, snapshot: Snapshot, reader: AdReader) -> None:
        self.snapshot = snapshot
        self._head = snapshot  # with the changes that are on their way to the disk
        self._unshown: deque[Snapshot] = deque()  # snapshots of those changes, oldest first
        self._reader = reader
        self._log: ChangeLog | None = None
        self._models = ""  # the fingerprint of the models, under which the log keeps what they read
        self._generation = ""  # the id of the one that the log's changes are applied to
        self._history = ""  # of the log, as far as it was followed
        self._replaced_by = ""  # why no more changes are taken
        self._age = 0  # raised when changes were lost on their way to the disk
        self._lock = threading.RLock()  # held while the next snapshot is made; readers do not need it
        self._settled = threading.Condition(self._lock)  # notified when a reading has ended, or something is shown
        self._entered = 0  # number of changes that have come, shown or not
        self._numbers = AdNumbers(snapshot)
        self._overtaken = Overtaken()
        self._merger = Merger(self._lock, lambda: self._head, self._show_merged)

    def apply(self, changes: Iterable[Change | PutList], receipt: Callable[[int], Receipt] | None = None) -> int:
        """Apply a batch of changes, all or none, and return its number once queries see it.

        `receipt` makes of that number what the log keeps with the batch; a batch of nothing may have one too. Raises
        `InputError` naming the position of the first change that is not valid, or that patches an ad that is not there.
        """
        return self._apply(fold(changes), receipt=receipt)

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
            self._describe()
            before = self._head
            self.snapshot = self._head = replace(before, seq=seq)
            self._numbers.moved(before, self._head)

    # The log. Without one, changes last as long as the process.

    def join(self, log: ChangeLog, models: str, generation: str) -> None:
        """Apply what the log holds beyond this snapshot, and write further changes to it.

        `models` is the fingerprint of what reads ads here; readings of others are not used. `generation` is the id of
        the one that this snapshot came from. A put whose text was new to another generation, and which this one has,
        changes attributes only: the ad keeps what this generation learned from its clicks.
        """
        with self._lock:
            self._log, self._models, self._generation = log, models, generation
            self._history = log.position().history
            self._describe()
            before = head = self._head
            for entry in log.lists(before.seq):  # a generation that contains these changes holds the ads alone
                head = head.with_list(entry.name, entry.values)
            self._make_newest(head)
            self._numbers.moved(before, head)
            self.catch_up()

    def catch_up(self) -> int:
        """Apply what others have written to the log since, and return the number of the newest change shown.

        Costs no model, unless an entry was read by other models. Raises `LogRewoundError` if the log was restored.
        """
        with self._lock:
            if self._log is None or self._replaced_by:
                return self.snapshot.seq
            position = self._log.position()
            if self._history and position.history != self._history:
                raise LogRewoundError("the log was restored from a backup", cure="load the engine again")
            self._history = position.history
            if position.last > self._head.seq:
                pages = list(self._log.entries(self._head.seq, self._models))
                if pages:
                    self._replay(pages, pages[-1][-1][0].batch)
            return self.snapshot.seq

    def reach(self, seq: int, timeout_s: float) -> None:
        """Wait until change `seq` is shown; raise `BehindError` if it is not in time."""
        until = time.monotonic() + timeout_s
        while self.snapshot.seq < seq:
            if self._log is not None and not self._log.is_owned:
                self.catch_up()
            with self._lock:
                left = until - time.monotonic()
                nobody_comes = self._log is None or self._log.is_owned
                if self.snapshot.seq >= seq:
                    return
                if left <= 0 or (nobody_comes and seq > self._head.seq):
                    raise BehindError(seq, self.snapshot.seq)
                self._settled.wait(min(left, _POLL_S))

    def retire(self, reason: str) -> None:
        """Take no more changes and wait for those on their way to the disk; `reason` is for whoever brings one."""
        with self._lock:
            self._replaced_by = reason
            while self._unshown:
                self._settled.wait(_POLL_S)
                self._show_durable()
                self._drop_lost()

    def resume(self) -> None:
        """Take changes again."""
        with self._lock:
            self._replaced_by = ""

    def ad(self, ad_id: str, *, newest: bool = False) -> Ad | None:
        """Return the ad with this id as queries see it, None if it is not there.

        `newest`: as it will be when changes are on disk that are on their way there.
        """
        if newest:
            with self._lock:
                snapshot, row = self._head, self._row(ad_id)
            return None if row is None else snapshot.ad(row)
        shown = self.snapshot
        rows = self.rows_in(shown, [ad_id])
        return shown.ad(rows[0]) if rows else None

    def rows_in(self, snapshot: Snapshot, ad_ids: Iterable[str]) -> list[int]:
        """Return the rows of those ads that are in `snapshot`, which may be an older one."""
        return self._numbers.rows_in(snapshot, ad_ids)

    def wait(self) -> None:
        """Wait until every merge has finished."""
        self._merger.wait()

    @property
    def merge_failure(self) -> str:
        """The error of the last background merge, empty if it succeeded. A failed merge is tried again."""
        return self._merger.failure

    def _apply(
        self,
        effects: Mapping[str, Effect],
        *,
        must_be_new: bool = False,
        must_be_there: bool = False,
        receipt: Callable[[int], Receipt] | None = None,
    ) -> int:
        if not effects and receipt is None:
            return self.snapshot.seq
        put = [effect.ad for effect in effects.values() if isinstance(effect, Full)]
        unchanged = self._unchanged(put) if put else {}
        with self._lock:
            self._begin()
            self._check(effects, must_be_new, must_be_there)
            resolved = [self._resolved(effect, unchanged) for effect in effects.values()]
            first = self._entered
            self._entered += max((effect.seq for effect in resolved), default=0)
            numbered = [replace(effect, seq=first + effect.seq) for effect in resolved]
            to_read = [effect for effect in numbered if isinstance(effect, Full)]
            age = self._age
            self._overtaken.begin(to_read)
            done = None if to_read else self._publish(numbered, None, receipt)
        if to_read:
            try:
                catalog = as_catalog([effect.ad for effect in to_read])
                parts = self._reader.parts(catalog)
                segment = self._reader.segment(catalog, parts)
                with self._lock:
                    self._begin()
                    if age != self._age:
                        raise LogError("changes before this one could not be written to the log", cure="try again")
                    done = self._publish(numbered, ReadAds(catalog, segment, parts), receipt)
            finally:
                with self._lock:
                    self._overtaken.end(to_read)
                    self._settled.notify_all()
        assert done
        self._wait_for(done)
        return done.seq

    def _begin(self) -> None:
        """Make the newest snapshot the one that the next change builds on. Call with the lock held."""
        self._describe()
        if self._replaced_by:
            raise ReplacedError(self._replaced_by, cure="bring the change to CurrentEngine.apply")
        if self._log is None:
            return
        if not self._log.is_owned:
            self._log.own(self._head.seq)
            self.catch_up()
            self._log.own(self._head.seq)
        elif self._log.appended != self._head.seq:  # a change was interrupted between the log and here
            self._log.flush()
            self._show_durable()
            self._age += 1
            self.catch_up()

    def _wait_for(self, done: "_Published") -> None:
        """Wait until a batch is on disk, and show it; drop everything that was built on one that was lost."""
        if done.commit is not None:
            try:
                done.commit.result()
            except LogError:
                with self._lock:
                    self._drop_lost()
                raise
        if self._log is not None:
            with self._lock:
                self._show_durable()

    def _show_durable(self) -> None:
        """Show the newest snapshot whose changes are on disk. Call with the lock held."""
        if self._log is None or not self._unshown:
            return
        durable, newest = self._log.durable, None
        while self._unshown and self._unshown[0].seq <= durable:
            newest = self._unshown.popleft()
        if newest is not None:
            self.snapshot = newest if self._unshown else self._head
            self._settled.notify_all()

    def _drop_lost(self) -> None:
        """Go back to what is on disk after the log failed. Call with the lock held."""
        if self._log is None or not self._log.failure:
            return
        durable = self._log.reset()
        self._show_durable()
        if self._head.seq > durable:
            self._unshown.clear()
            self._head = self.snapshot
            self._age += 1
            self._overtaken.forget()
            self._settled.notify_all()

    def _check(self, effects: Mapping[str, Effect], must_be_new: bool, must_be_there: bool) -> None:
        """Raise `InputError` unless all effects are possible; wait for ads being read. Call with the lock held."""
        while any(self._must_wait(effect, ad_id, must_be_there) for ad_id, effect in effects.items()):
            self._settled.wait()
            self._describe()
        for ad_id, effect in effects.items():
            there = ad_id in self._numbers
            if must_be_new and (there or ad_id in self._overtaken.being_read):
                raise InputError(f"ad {ad_id!r} already exists", cure="pass replace=True to replace it")
            if must_be_there and not there:
                raise InputError(f"there is no ad {ad_id!r} to remove", cure="pass ids of ads that are there")
            if isinstance(effect, Fields) and not there:
                raise InputError(
                    f"there is no ad {ad_id!r} to patch", cure="put it first", path="changes", line=effect.seq
                )

    def _must_wait(self, effect: Effect, ad_id: str, must_be_there: bool) -> bool:
        """Return whether an effect builds on an ad that models are still reading. Call with the lock held."""
        if ad_id not in self._overtaken.being_read:
            return False
        if isinstance(effect, Fields) and not all(map(is_attribute, effect.values)):
            return True  # a patch of text, which is one of the text on its way
        return (isinstance(effect, Fields) or must_be_there) and ad_id not in self._numbers

    def _unchanged(self, ads: Sequence[Ad]) -> dict[str, int]:
        """Return the numbers, by id, of those ads that are there with the same text. Slow: call without the lock."""
        snapshot = self.snapshot
        numbers = [self._numbers.number(ad.ad_id) for ad in ads]
        each = zip(ads, numbers, snapshot.rows_of(np.array(numbers, dtype=np.int64)).tolist(), strict=True)
        return {ad.ad_id: number for ad, number, row in each if row >= 0 and has_text(snapshot, row, ad)}

    def _resolved(self, effect: Effect, unchanged: Mapping[str, int]) -> Effect:
        """Return the lightest equal effect: models read only new text. Call with the lock held."""
        if isinstance(effect, Gone | Listed):
            return effect
        if isinstance(effect, Fields) and all(map(is_attribute, effect.values)):
            return effect
        row = self._row(effect.ad_id)
        if row is None:
            return effect
        if isinstance(effect, Fields):
            effect = Full(replace(self._head.ad(row), **effect.values), effect.seq)
        is_unchanged = unchanged.get(effect.ad_id) == self._numbers.number(effect.ad_id)
        if not is_unchanged and not has_text(self._head, row, effect.ad):
            return effect
        return Replaced.by(effect.ad, effect.seq)

    def _publish(
        self, effects: Sequence[Effect], read: ReadAds | None, receipt: Callable[[int], Receipt] | None
    ) -> "_Published":
        """Log the effects that no later change has overtaken, and make the snapshot with them the newest.

        Call with the lock held. Computes everything first; then one assignment makes it the newest.
        """
        left = self._overtaken.left(effects, self._numbers)
        head, numbers = after(self._head, left, read, self._numbers)
        head = replace(head, seq=self._head.seq + len(left))
        commit, kept = None, receipt(head.seq) if receipt else None
        self._overtaken.remember(effects)
        if self._log is not None and left:
            batch, readings = logged(left, self._head.seq, read, self._generation)
            commit = self._log.append(batch, readings, self._models, kept)
            self._unshown.append(head)
        elif self._log is None:
            self.snapshot = head
        self._head = head
        self._note(left, numbers)
        if self._log is not None and commit is None:
            commit = self._log.append([], {}, "", kept)  # what overtook this batch has to be on disk
        return _Published(head.seq, commit)

    def _note(self, effects: Sequence[tuple[Effect, int]], numbers: Mapping[str, int]) -> None:
        """Let `_numbers` describe the newest snapshot, and merge. Call with the lock held."""
        self._numbers.change(self._head, (effect.ad_id for effect, _ in effects if isinstance(effect, Gone)), numbers)
        self._merger.merge_if_needed()

    def _replay(self, pages: Iterable[Sequence[tuple[Entry, Reading | None]]], last: int) -> None:
        """Apply entries of the log, up to the number `last`, as if they came now. Call with the lock held.

        The entries are taken together, so that what an ad becomes does not depend on how many come at once.
        """
        effects = unfold(pages)
        for start in range(0, len(effects), _REPLAYED_AT_ONCE):
            self._describe()
            some: list[tuple[Effect, int]] = []
            full: list[Full] = []
            dumped: list[Reading | None] = []
            for each in effects[start : start + _REPLAYED_AT_ONCE]:
                effect = each.effect
                if not isinstance(effect, Full):
                    some.append((effect, -1))
                elif each.new_to != self._generation and self._has_text(effect.ad):
                    some.append((Replaced.by(effect.ad, effect.seq), -1))
                else:
                    some.append((effect, len(full)))
                    full.append(effect)
                    dumped.append(each.reading)
            head, numbers = after(self._head, some, self._read_from(full, dumped) if full else None, self._numbers)
            self._make_newest(head)
            self._note(some, numbers)
        before = self._head
        self._make_newest(replace(before, seq=last))
        self._numbers.moved(before, self._head)
        self._settled.notify_all()

    def _make_newest(self, head: Snapshot) -> None:
        if not self._unshown:
            self.snapshot = head
        self._head = head

    def _has_text(self, ad: Ad) -> bool:
        row = self._row(ad.ad_id)
        return row is not None and has_text(self._head, row, ad)

    def _read_from(self, full: Sequence[Full], dumped: Sequence[Reading | None]) -> ReadAds:
        """Return ads with what the log says that models read in them; models read those that it does not know."""
        catalog = as_catalog([effect.ad for effect in full])
        unknown = [at for at, each in enumerate(dumped) if each is None]
        if unknown:
            logger.info("models read %d ads of the log, which other models had read", len(unknown))
            parts = self._reader.parts(as_catalog([full[at].ad for at in unknown]))
            readings = {at: parts.dump(row) for row, at in enumerate(unknown)}
            dumped = [readings[at] if each is None else each for at, each in enumerate(dumped)]
            if self._log is not None and self._log.is_owned:
                self._log.add_readings(
                    {digest_of_content(full[at].ad): reading for at, reading in readings.items()}, self._models
                )
        parts = AdParts.load([each for each in dumped if each is not None])
        return ReadAds(catalog, self._reader.segment(catalog, parts), parts)

    def _show_merged(self, snapshot: Snapshot) -> None:
        """Make a snapshot of the same ads, merged, the newest. Call with the lock held."""
        before, self._head = self._head, snapshot
        if not self._unshown:
            self.snapshot = snapshot
        self._numbers.moved(before, snapshot)

    def _row(self, ad_id: str) -> int | None:
        return self._numbers.row(self._head, ad_id)

    def _describe(self) -> None:
        """Let `_numbers` describe the newest snapshot, also after a change that was interrupted."""
        if self._log is None:
            self._head = self.snapshot
        self._numbers.describe(self._head)


@dataclass(frozen=True)
class _Published:
    """A batch that is in the newest snapshot: its number, and what is done once it is on disk."""

    seq: int
    commit: "Future[None] | None"
