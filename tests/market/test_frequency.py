"""Frequency caps against counting everything anew; replicas; users without an id."""

import json
import random
from collections import deque
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intently.errors import InputError
from intently.market import Anonymous, FrequencyCap, FrequencyCaps

HOUR = 3600.0


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 20 * HOUR)), max_size=60),
    st.integers(1, 4),
    st.sampled_from([HOUR, 5 * HOUR]),
)
def test_no_window_ever_holds_more_than_the_cap(requests, most, window_s):
    """Requests at any instants, in any order: the clock jumps as it likes."""
    caps = FrequencyCaps({"ad": [FrequencyCap(most, window_s)]})
    shown: dict[str, list[float]] = {"a": [], "b": []}
    for number, (user, at_s) in enumerate(requests):
        admitted = caps.admits("ad", user, at_s)
        # The slow twin: all impressions after the window's start.
        assert admitted == (sum(seen > at_s - window_s for seen in shown[user]) < most)
        if admitted:
            assert caps.record("ad", user, f"impression {number}", at_s)
            assert not caps.record("ad", user, f"impression {number}", at_s + 1)
            shown[user].append(at_s)
    for instants in shown.values():
        assert all(sum(at < other <= at + window_s for other in instants) <= most for at in instants)


def test_a_calendar_day_begins_at_the_midnight_of_its_zone():
    caps = FrequencyCaps({"ad": [FrequencyCap(2, time_zone="Europe/Berlin")]})

    def instant(text: str) -> float:
        return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin")).timestamp()

    # A day of 25 hours: both impressions are on it.
    caps.record("ad", "u", "1", instant("2026-10-25 00:00"))
    assert caps.admits("ad", "u", instant("2026-10-25 23:59"))
    caps.record("ad", "u", "2", instant("2026-10-25 23:59"))
    assert not caps.admits("ad", "u", instant("2026-10-25 23:59"))
    assert caps.admits("ad", "u", instant("2026-10-26 00:00"))


def test_several_caps_have_to_admit():
    caps = FrequencyCaps({"ad": [FrequencyCap(1, HOUR), FrequencyCap(2, 24 * HOUR)], "no cap": []})
    instants = [
        at_s
        for at_s in range(0, 24 * 3600, 600)
        if caps.admits("ad", "u", at_s) and caps.record("ad", "u", str(at_s), at_s)
    ]
    assert instants == [0, 3600]
    assert caps.admits("no cap", "u", 0.0)


def test_users_without_an_id_are_treated_as_stated():
    cap = {"ad": [FrequencyCap(1, HOUR)]}
    for user in (None, ""):
        admitting = FrequencyCaps(cap)
        assert not admitting.record("ad", user, "1", 0.0)
        assert admitting.admits("ad", user, 1.0)
        assert not FrequencyCaps(cap, anonymous=Anonymous.REFUSE).admits("ad", user, 1.0)
        assert FrequencyCaps(cap, anonymous="refuse").admits("uncapped", user, 1.0)


def test_replicas_exceed_a_cap_by_requests_in_flight_at_most():
    """Three replicas hear of each other's impressions only when as many newer requests are under way."""
    for in_flight in (0, 1, 3, 8):
        replicas = [FrequencyCaps({"ad": [FrequencyCap(5, HOUR)]}) for _ in range(3)]
        waiting: deque[tuple[str, float]] = deque()
        rng, shown = random.Random(in_flight), 0
        for number in range(300):
            here = rng.choice(replicas)
            if here.admits("ad", "u", number):
                shown += 1
                here.record("ad", "u", str(number), number)
                waiting.append((str(number), number))
            while len(waiting) > in_flight:
                event_id, at_s = waiting.popleft()
                for replica in replicas:
                    replica.record("ad", "u", event_id, at_s)
        assert 5 <= shown <= 5 + in_flight


def test_a_restart_and_a_close_change_no_answer():
    caps, rng = FrequencyCaps({"ad": [FrequencyCap(3, HOUR)]}), random.Random(0)
    for number in range(400):
        at_s = number * 60.0
        if number % 50 == 49:
            caps.close(at_s - HOUR)
            other = FrequencyCaps({"ad": [FrequencyCap(3, HOUR)]})
            other.restore(json.loads(json.dumps(caps.state())))
            users = [str(user) for user in range(5)]
            assert [other.admits("ad", user, at_s) for user in users] == [
                caps.admits("ad", user, at_s) for user in users
            ]
            caps = other
        user = str(rng.randrange(5))
        if caps.admits("ad", user, at_s):
            caps.record("ad", user, str(number), at_s)
    assert sum(len(seen) for _, _, seen in caps.state()) <= 5 * 3 * 3


def test_what_is_wrong_is_named():
    with pytest.raises(InputError, match="most"):
        FrequencyCap(0, HOUR)
    with pytest.raises(InputError, match="one of the two"):
        FrequencyCap(1)
    with pytest.raises(InputError, match="Mars"):
        FrequencyCap(1, time_zone="Mars/Olympus")
