"""The ledger: a function of the set of events; days of zones; restart."""

import json
import random
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intently.errors import InputError
from intently.market import Budget, Event, EventKind, Ledger, Recorded
from intently.market.days import day_bounds, local_hour

BUDGETS = [Budget("shoes", 10_000_000, "America/New_York"), Budget("跑步鞋", 5_000_000, "Asia/Shanghai")]


def instant(text: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def spend(ledger: Ledger) -> dict:
    return ledger.state()["spent"]


EVENTS = st.builds(
    Event,
    st.integers(0, 30).map(str),
    st.sampled_from(["shoes", "跑步鞋", "nobody"]),
    st.sampled_from(EventKind),
    st.floats(instant("2026-03-06"), instant("2026-03-10")),
    st.integers(-5, 1_000_000),
)


@given(st.lists(EVENTS, unique_by=lambda event: event.event_id), st.integers(0, 1000))
def test_order_and_repetitions_change_nothing(events, seed):
    in_order = Ledger(BUDGETS)
    for event in events:
        in_order.record(event)
    rng = random.Random(seed)
    shuffled = events + rng.choices(events, k=len(events)) if events else []
    rng.shuffle(shuffled)
    other = Ledger(BUDGETS)
    for at, event in enumerate(shuffled):
        other.record(event)
        if at % 7 == 3:  # a restart in between
            state = json.loads(json.dumps(other.state()))
            other = Ledger(BUDGETS)
            other.restore(state)
    assert spend(other) == spend(in_order)
    # The slow twin: sums over the distinct events, by the date that a calendar shows.
    expected: dict = {}
    for event in events:
        budget = next((each for each in BUDGETS if each.campaign_id == event.campaign_id), None)
        if budget and event.micros:
            date = datetime.fromtimestamp(event.at_s, ZoneInfo(budget.time_zone)).date().isoformat()
            days = expected.setdefault(event.campaign_id, {})
            days[date] = days.get(date, 0) + event.micros
    assert spend(in_order) == expected


def test_an_event_says_what_became_of_it():
    ledger = Ledger(BUDGETS)
    click = Event("1", "shoes", EventKind.CLICK, 1000.0, 500)
    assert ledger.record(click) is Recorded.COUNTED
    assert ledger.record(click) is Recorded.REPEATED
    # The sender may stamp a repetition anew: the id decides.
    assert ledger.record(Event("1", "shoes", EventKind.CLICK, 90_000.0, 500)) is Recorded.REPEATED
    assert ledger.record(Event("2", "ghost", EventKind.CLICK, 1000.0, 500)) is Recorded.UNKNOWN
    ledger.close(2000.0)
    assert ledger.record(click) is Recorded.LATE
    ledger.close(10.0)  # a clock that went back opens nothing
    assert ledger.record(click) is Recorded.LATE
    assert ledger.spent_micros("shoes", 1000.0) == 500
    assert ledger.outcomes == {Recorded.COUNTED: 1, Recorded.REPEATED: 2, Recorded.UNKNOWN: 1, Recorded.LATE: 2}


def test_a_late_event_burdens_its_own_day():
    ledger = Ledger(BUDGETS)
    ledger.record(Event("1", "跑步鞋", EventKind.CLICK, instant("2026-05-01 23:59:59", "Asia/Shanghai"), 700))
    assert ledger.left_micros("跑步鞋", instant("2026-05-01 12:00", "Asia/Shanghai")) == 5_000_000 - 700
    assert ledger.left_micros("跑步鞋", instant("2026-05-02 00:00", "Asia/Shanghai")) == 5_000_000


@pytest.mark.parametrize(
    ("date", "zone", "hours"),
    [
        ("2026-03-29", "Europe/Berlin", 23),
        ("2026-10-25", "Europe/Berlin", 25),
        ("2026-03-08", "America/New_York", 23),
        ("2026-06-01", "Asia/Shanghai", 24),
        ("2026-04-05", "Australia/Lord_Howe", 24.5),
        ("2026-09-06", "America/Santiago", 23),  # midnight itself is skipped
    ],
)
def test_days_with_other_than_24_hours(date, zone, hours):
    noon = instant(f"{date} 12:00", zone)
    start, end = day_bounds(noon, zone)
    assert (end - start) / 3600 == hours
    assert datetime.fromtimestamp(start, ZoneInfo(zone)).date().isoformat() == date
    assert datetime.fromtimestamp(start - 1, ZoneInfo(zone)).date().isoformat() < date
    # Every instant of the day gives the same day.
    assert {day_bounds(at, zone) for at in range(start, end, 600)} == {(start, end)}


def test_an_hour_that_comes_twice():
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp()  # 2:30 summer time
    assert local_hour(first, "Europe/Berlin") == local_hour(first + 3600, "Europe/Berlin") == 2


def test_what_is_wrong_is_named():
    with pytest.raises(InputError, match="Mars"):
        Budget("a", 1, "Mars/Olympus")
    with pytest.raises(InputError, match="daily_micros"):
        Budget("a", 1.5)
    with pytest.raises(InputError, match="micros"):
        Event("1", "a", EventKind.CLICK, 0.0, 0.5)
    with pytest.raises(InputError, match="two budgets"):
        Ledger([Budget("a", 1), Budget("a", 2)])
