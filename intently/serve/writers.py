"""Applying changes: on threads of their own, one change as it is asked for, or a chunk of a bulk line by line."""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import blake2b
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

import msgspec

from intently.errors import InputError, LogError
from intently.live.changes import fold
from intently.live.log import Receipt
from intently.serve.metrics import Metrics
from intently.serve.problems import Problem, of_input_error, of_log_error
from intently.serve.turns import Turns
from intently.types import Ad, Change, Delete, Patch, Put, PutList

if TYPE_CHECKING:
    from intently.engine.current import CurrentEngine

T = TypeVar("T")
_NEWEST = 0.1


@dataclass(frozen=True)
class Applied:
    """A change that every answer shows from now on."""

    seq: int
    existed: bool


Keep = Callable[[Applied], Receipt]
"""Makes of what became of a change the receipt that the log keeps together with it."""


def etag_of(state: Ad | tuple[str, ...]) -> str:
    """Return what tells this state of an ad, or of a list, from every other."""
    return f'"{blake2b(msgspec.json.encode(state, order="deterministic"), digest_size=12).hexdigest()}"'


def ad_id_of(change: Change) -> str:
    """Return the id of the ad that a change is about."""
    return change.ad.ad_id if isinstance(change, Put) else change.ad_id


def kind_of(change: Change) -> str:
    """Return "put", "patch" or "delete"."""
    return type(change).__name__.lower()


@dataclass
class Writers:
    """Threads that apply changes, and how many changes wait for them."""

    current: "CurrentEngine"
    metrics: Metrics
    num_threads: int = 2
    max_wait_ms: float = 10_000.0
    turns: Turns = field(default_factory=Turns)
    num_pending: int = 0
    _cost_ms: float = 0.0

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(self.num_threads, thread_name_prefix="write")

    def close(self) -> None:
        """Wait for what is under way, and end the threads."""
        self._pool.shutdown(wait=True)

    async def apply(
        self,
        change: Change,
        *,
        if_match: str | None = None,
        advertiser: str = "",
        receipt: Keep | None = None,
    ) -> Applied:
        """Apply one change. With `if_match`, only if the ad is in that state; with `advertiser`, only its ads.

        `receipt` makes of the outcome what the log keeps together with the change. Raises `Problem` if it cannot be
        applied; then nothing has changed.
        """
        self._admit()
        alone = if_match is not None or bool(advertiser)  # these look at the ad, and then change it
        async with self.turns.hold([ad_id_of(change)], alone=alone):
            return await self._on_thread(lambda: self._apply_one(change, if_match, advertiser, receipt))

    async def put_list(
        self,
        change: PutList,
        *,
        if_match: str | None = None,
        receipt: Keep | None = None,
    ) -> Applied:
        """Change one list that ads share. With `if_match`, only if it is in that state; `receipt` as for `apply`.

        Raises `Problem` if it cannot be changed; then nothing has changed.
        """
        self._admit()
        async with self.turns.hold([f"list {change.name}"], alone=True):
            return await self._on_thread(lambda: self._put_list(change, if_match, receipt))

    async def apply_chunk(self, changes: Sequence[Change], advertiser: str = "") -> list[Applied | Problem]:
        """Apply those of some changes that can be applied, together; return what became of each, in order."""
        async with self.turns.hold({ad_id_of(change) for change in changes}, alone=bool(advertiser)):
            return await self._on_thread(lambda: self._apply_chunk(changes, advertiser))

    def _admit(self) -> None:
        wait_ms = max(0, self.num_pending - self.num_threads + 1) * self._cost_ms / self.num_threads
        if wait_ms > self.max_wait_ms:
            self.metrics.shed.labels("write_wait").inc()
            raise Problem(
                503, "overloaded", f"the change would wait {wait_ms / 1000:.0f} s", cure="try again later",
                headers={"Retry-After": str(max(1, math.ceil(wait_ms / 1000)))},
            )  # fmt: skip

    async def _on_thread(self, work: Callable[[], T]) -> T:
        came, began = perf_counter(), 0.0

        def timed_work() -> T:
            nonlocal began
            began = perf_counter()
            return work()

        self.num_pending += 1
        running = asyncio.get_running_loop().run_in_executor(self._pool, timed_work)
        try:
            return await asyncio.shield(running)  # who hangs up does not stop a change that has begun
        finally:
            self.num_pending -= 1
            if began:
                self.metrics.queue_wait.labels("write").observe(began - came)
                spent_ms = (perf_counter() - began) * 1000
                self._cost_ms += (_NEWEST if self._cost_ms else 1.0) * (spent_ms - self._cost_ms)

    # On a thread.

    def _apply_one(
        self,
        change: Change,
        if_match: str | None,
        advertiser: str,
        receipt: Keep | None,
    ) -> Applied:
        ad = self.current.engine.ad(ad_id_of(change), newest=True)
        self._check(change, ad, advertiser)
        if if_match is not None and (ad is None or if_match not in ("*", etag_of(ad))):
            raise Problem(
                412, "changed_meanwhile", f"ad {ad_id_of(change)!r} is not in the state {if_match}", field="If-Match",
                cure="get the ad, and change it as it is now",
            )  # fmt: skip
        if isinstance(change, Delete) and (ad is None or not _is_visible(ad, advertiser)):
            return self._logged([], False, receipt)
        try:
            applied = self._logged([change], ad is not None, receipt)
        except InputError as error:
            raise self._refusal(change, error) from None
        self.metrics.changes.labels(kind_of(change)).inc()
        return applied

    def _logged(self, changes: Sequence[Change | PutList], existed: bool, receipt: Keep | None) -> Applied:
        """Apply one change, or none, with its receipt."""
        keep = None if receipt is None else lambda seq: receipt(Applied(seq, existed))
        try:
            return Applied(self.current.apply(changes, receipt=keep), existed)
        except LogError as error:
            raise of_log_error(error) from None

    def _put_list(self, change: PutList, if_match: str | None, receipt: Keep | None) -> Applied:
        if found := _fault(change):
            raise of_input_error(found)
        snapshot = self.current.engine.snapshot
        before = snapshot.lists.values.get(change.name)
        if if_match is not None and (before is None or if_match not in ("*", etag_of(before))):
            raise Problem(
                412, "changed_meanwhile", f"the list {change.name!r} is not in the state {if_match}", field="If-Match",
                cure="get the list, and change it as it is now",
            )  # fmt: skip
        if before is None and not change.values:
            return self._logged([], False, receipt)
        applied = self._logged([change], before is not None, receipt)
        self.metrics.changes.labels("list").inc()
        return applied

    def _refusal(self, change: Change, error: InputError) -> Problem:
        if isinstance(change, Patch) and self.current.engine.ad(change.ad_id, newest=True) is None and not error.field:
            return _unknown(change.ad_id)
        return of_input_error(error)

    def _check(self, change: Change, ad: Ad | None, advertiser: str) -> None:
        """Raise `Problem` for a change of an ad that is not there, or is another advertiser's."""
        if isinstance(change, Patch) and (ad is None or not _is_visible(ad, advertiser)):
            raise _unknown(change.ad_id)
        if not advertiser:
            return
        after = change.ad.advertiser if isinstance(change, Put) else advertiser
        if isinstance(change, Patch):
            after = change.fields.get("advertiser", advertiser)
        if after != advertiser:
            raise Problem(
                403, "forbidden", f"the key may change ads of {advertiser!r} only", field="advertiser",
                cure=f"set advertiser to {advertiser!r}",
            )  # fmt: skip
        if isinstance(change, Put) and ad is not None and ad.advertiser != advertiser:
            raise Problem(403, "forbidden", f"the id {change.ad.ad_id!r} is taken", field="ad_id", cure="use another")

    def _apply_chunk(self, changes: Sequence[Change], advertiser: str) -> list[Applied | Problem]:
        outcomes: dict[int, Applied | Problem] = {}
        ads: dict[str, Ad | None] = {}  # as they are after the changes so far
        left: list[int] = []
        for at, change in enumerate(changes):
            ad_id = ad_id_of(change)
            if ad_id not in ads:
                ads[ad_id] = self.current.engine.ad(ad_id, newest=True)
            try:
                self._check(change, ads[ad_id], advertiser)
            except Problem as problem:
                outcomes[at] = problem
                continue
            outcomes[at] = Applied(0, ads[ad_id] is not None)
            if isinstance(change, Delete):
                if not _is_visible(ads[ad_id], advertiser):
                    outcomes[at] = Applied(0, False)
                    continue
                ads[ad_id] = None
            elif isinstance(change, Put):
                ads[ad_id] = change.ad
            left.append(at)
        seq = self._apply_possible(changes, left, outcomes)
        for at, outcome in outcomes.items():
            if isinstance(outcome, Applied):
                outcomes[at] = Applied(seq, outcome.existed)
                if outcome.existed or not isinstance(changes[at], Delete):
                    self.metrics.changes.labels(kind_of(changes[at])).inc()
        return [outcomes[at] for at in range(len(changes))]

    def _apply_possible(
        self, changes: Sequence[Change], left: list[int], outcomes: dict[int, Applied | Problem]
    ) -> int:
        """Apply the changes at `left` that the engine takes, note the others in `outcomes`, and return the number.

        The engine names one wrong change at a time. So that a thousand of them do not take a thousand attempts, every
        put and patch is tried alone, on paper, after the first.
        """
        looked_at_each = False
        while left:
            try:
                return self.current.apply([changes[at] for at in left])
            except LogError as error:
                raise of_log_error(error) from None
            except InputError as error:
                if error.line is None:
                    raise
                wrong: Mapping[int, InputError] = {left[error.line - 1]: error}
                if not looked_at_each:
                    looked_at_each = True
                    wrong = {at: found for at in left if (found := _fault(changes[at]))} or wrong
                for at, found in wrong.items():
                    outcomes[at] = self._refusal(changes[at], found)
                left = [at for at in left if at not in wrong]
        return self.current.engine.snapshot.seq


def _fault(change: Change | PutList) -> InputError | None:
    """Return what is wrong with the values of a change, whatever ads and lists there are."""
    try:
        fold([change])
    except InputError as error:
        return error
    return None


def _is_visible(ad: Ad | None, advertiser: str) -> bool:
    return ad is not None and (not advertiser or ad.advertiser == advertiser)


def _unknown(ad_id: str) -> Problem:
    return Problem(404, "unknown_ad", f"there is no ad {ad_id!r}", field="ad_id", cure="put it first")
