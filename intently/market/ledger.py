"""What campaigns have spent, day by day: each event counts once, whenever and however often it arrives.

The ledger is a function of the *set* of events: their order and repetitions change nothing. Amounts are whole
micro-units of the currency (1,000,000 micros are 1.00), so that sums are exact. An event counts for the day, in its
campaign's zone, at which it happened; so a late one does not burden today.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from intently.errors import InputError
from intently.market.days import day_bounds, local_date, zone_named

MICROS = 1_000_000  # of one currency unit


class EventKind(StrEnum):
    """What happened to an ad that was shown."""

    IMPRESSION = "impression"
    CLICK = "click"
    SPEND = "spend"  # a correction, or a charge that belongs to no click


class Recorded(StrEnum):
    """What became of an event."""

    COUNTED = "counted"
    REPEATED = "repeated"  # its id is known: nothing changed
    LATE = "late"  # its day is closed: nothing changed
    UNKNOWN = "unknown"  # no campaign of this id: nothing changed


@dataclass(frozen=True, slots=True)
class Budget:
    """What a campaign may spend on one day of its zone."""

    campaign_id: str
    daily_micros: int
    time_zone: str = "UTC"

    def __post_init__(self) -> None:
        if type(self.daily_micros) is not int or self.daily_micros < 1:
            told = f"campaign {self.campaign_id!r} has {self.daily_micros!r}"
            raise InputError(told, cure="pass whole micros of at least 1", field="daily_micros")
        zone_named(self.time_zone)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, with the id by which a repetition is known. Ids are unique over all kinds."""

    event_id: str
    campaign_id: str
    kind: EventKind
    at_s: float  # when it happened, seconds since 1970 UTC
    micros: int = 0  # what it costs the campaign; below 0 for money given back

    def __post_init__(self) -> None:
        if type(self.micros) is not int:
            raise InputError(f"{self.micros!r} is no whole number", cure="pass micros as an int", field="micros")


class Ledger:
    """Holds budgets, what was spent of them, and the ids of all events since the last `close`."""

    def __init__(self, budgets: Iterable[Budget]):
        self.budgets: dict[str, Budget] = {}
        for budget in budgets:
            if budget.campaign_id in self.budgets:
                raise InputError(f"{budget.campaign_id!r} has two budgets", cure="pass one", field="campaign_id")
            self.budgets[budget.campaign_id] = budget
        self.outcomes: Counter[Recorded] = Counter()
        self._seen: dict[str, float] = {}  # event id → instant
        self._spent: dict[str, dict[str, int]] = {}  # campaign → its local date → micros
        self._closed_before_s = float("-inf")

    def record(self, event: Event) -> Recorded:
        """Count an event, unless it was counted before, and return what became of it. Cost: O(1)."""
        outcome = self._record(event)
        self.outcomes[outcome] += 1
        return outcome

    def _record(self, event: Event) -> Recorded:
        budget = self.budgets.get(event.campaign_id)
        if budget is None:
            return Recorded.UNKNOWN
        if event.at_s < self._closed_before_s:
            return Recorded.LATE
        if event.event_id in self._seen:
            return Recorded.REPEATED
        self._seen[event.event_id] = event.at_s
        if event.micros:
            spent = self._spent.setdefault(event.campaign_id, {})
            date = local_date(event.at_s, budget.time_zone)
            spent[date] = spent.get(date, 0) + event.micros
        return Recorded.COUNTED

    def spent_micros(self, campaign_id: str, at_s: float) -> int:
        """Return what a campaign has spent on the day of `at_s` in its zone."""
        date = local_date(at_s, self.budgets[campaign_id].time_zone)
        return self._spent.get(campaign_id, {}).get(date, 0)

    def left_micros(self, campaign_id: str, at_s: float) -> int:
        """Return what is left of the budget on the day of `at_s`; below 0 if events came after it was spent."""
        return self.budgets[campaign_id].daily_micros - self.spent_micros(campaign_id, at_s)

    def day(self, campaign_id: str, at_s: float) -> tuple[int, int]:
        """Return the start and end, in seconds since 1970 UTC, of a campaign's day."""
        return day_bounds(at_s, self.budgets[campaign_id].time_zone)

    def close(self, before_s: float) -> None:
        """Forget the ids of events before an instant, to bound the memory; such events are late from now on.

        Nothing is closed by itself: a clock that jumps can make the ledger neither forget nor count twice. Call it once
        a day with an instant some days ago. What was spent stays.
        """
        self._closed_before_s = max(self._closed_before_s, before_s)
        self._seen = {event_id: at_s for event_id, at_s in self._seen.items() if at_s >= self._closed_before_s}

    def state(self) -> dict[str, Any]:
        """Return all that was counted as values of JSON, for `restore`. Budgets are not part of it."""
        return {
            "seen": dict(self._seen),
            "spent": {campaign_id: dict(days) for campaign_id, days in self._spent.items()},
            "closed_before_s": None if self._closed_before_s == float("-inf") else self._closed_before_s,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned. Events that were recorded since may be recorded again: they count once."""
        self._seen = dict(state["seen"])
        self._spent = {campaign_id: dict(days) for campaign_id, days in state["spent"].items()}
        closed = state["closed_before_s"]
        self._closed_before_s = float("-inf") if closed is None else closed
