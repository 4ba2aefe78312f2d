"""Pacing on simulated days; clocks that jump; restart; the share of traffic."""

import json
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from intently.errors import InputError, SettingsError
from intently.market import (
    Budget,
    Event,
    EventKind,
    Ledger,
    Pace,
    Pacer,
    PacingSettings,
    SimulatedDay,
    Traffic,
    simulate_day,
)
from intently.market.days import day_bounds

FLAT = (500.0,) * 24
TWO_PEAKS = tuple(500 * x for x in (0.3, 0.2, 0.2, 0.2, 0.4, 0.8, 1.4, 1.8, 1.6, 1.2, 1.0, 1.0) * 2)
DAYS = {
    "flat": SimulatedDay(FLAT),
    "two peaks": SimulatedDay(TWO_PEAKS, TWO_PEAKS),
    "half the traffic": SimulatedDay(tuple(x / 2 for x in FLAT), FLAT),
    "spike": SimulatedDay(tuple(x * (5 if hour == 12 else 1) for hour, x in enumerate(FLAT)), FLAT),
}


@pytest.mark.parametrize("name", DAYS)
def test_a_budget_lasts_for_the_day_and_is_spent(name):
    day = DAYS[name]
    report = simulate_day(SimulatedDay(day.hourly_traffic, day.hourly_forecast, demand=2.0, click_rate=0.15))
    assert 0.97 <= report.spent_share <= 1.01
    assert report.largest_deviation <= 0.10
    assert report.num_repeated > 0


def test_where_demand_does_not_suffice_the_campaign_is_not_throttled():
    report = simulate_day(SimulatedDay(FLAT, demand=0.5, click_rate=0.2))
    assert 0.45 <= report.spent_share <= 0.52  # 0.5, but for chance


def test_a_simulated_day_is_seeded():
    day = SimulatedDay((60.0,) * 24)
    assert simulate_day(day) == simulate_day(day)


def pacer_of(zone: str = "UTC", daily_micros: int = 1_000_000) -> Pacer:
    return Pacer(Ledger([Budget("shoes", daily_micros, zone)]), Traffic())


def run(pacer: Pacer, instants, *, restart_every: int = 0, micros: int = 2_000) -> tuple[Pacer, list[float]]:
    """Ask for each instant, click each time, and note the probabilities."""
    probabilities = []
    for at, at_s in enumerate(instants):
        pacer.traffic.count(at_s)
        paced = pacer.decide("shoes", f"request {at}", at_s, micros)
        probabilities.append(paced.probability)
        if paced.pace is Pace.TAKES_PART:
            pacer.ledger.record(Event(f"click {at}", "shoes", EventKind.CLICK, at_s, micros))
        if restart_every and at % restart_every == 0:
            state = json.loads(json.dumps(pacer.state()))
            pacer = pacer_of()
            pacer.restore(state)
    return pacer, probabilities


def test_a_restart_goes_on_as_if_nothing_had_happened():
    instants = [at * 20.0 for at in range(3_000)]
    one, without = run(pacer_of(), instants)
    two, restarted = run(pacer_of(), instants, restart_every=97)
    assert restarted == without
    assert two.state() == one.state()


def test_clocks_that_jump_overspend_nothing():
    steady = [at * 20.0 for at in range(4_320)]
    jumping = steady[:1000] + [at + 6 * 3600 for at in steady[1000:1100]] + [at - 3600 for at in steady[1100:1200]]
    jumping += steady[1200:]
    pacer, _ = run(pacer_of(), jumping)
    assert 970_000 <= pacer.ledger.spent_micros("shoes", 0.0) <= 1_000_000


@pytest.mark.parametrize("date", ["2026-03-29", "2026-10-25", "2026-06-01"])
def test_a_day_of_23_or_25_hours_is_paced_to_its_end(date):
    zone = "Europe/Berlin"
    noon = datetime.fromisoformat(f"{date} 12:00").replace(tzinfo=ZoneInfo(zone)).timestamp()
    start, end = day_bounds(noon, zone)
    pacer, _ = run(pacer_of(zone), [float(at) for at in range(start, end, 20)])
    assert 0.97 <= pacer.ledger.spent_micros("shoes", noon) / 1_000_000 <= 1.0
    assert pacer.ledger.spent_micros("shoes", end) == 0


def test_out_of_budget_is_a_verdict():
    pacer = pacer_of(daily_micros=5_000)
    pacer.ledger.record(Event("1", "shoes", EventKind.CLICK, 100.0, 4_000))
    assert pacer.decide("shoes", "r", 100.0, 2_000).pace is Pace.OUT_OF_BUDGET
    assert pacer.decide("shoes", "r", 100.0, 2_000).probability == 0.0
    assert pacer.decide("no budget", "r", 100.0).pace is Pace.TAKES_PART


def test_the_same_request_is_decided_in_the_same_way():
    one, two = pacer_of(), pacer_of()
    decided = [one.decide("shoes", f"r{at}", 0.0).pace for at in range(2_000)]
    assert decided == [two.decide("shoes", f"r{at}", 0.0).pace for at in range(2_000)]
    assert decided.count(Pace.TAKES_PART) == pytest.approx(200, abs=50)  # the first probability is 0.1


def test_the_share_of_traffic_follows_the_forecast_as_long_as_nothing_was_seen():
    traffic = Traffic((3.0,) * 12 + (1.0,) * 12)
    assert traffic.share(0, 86_400, 6 * 3600.0) == pytest.approx(18 / 48)
    assert traffic.share(0, 86_400, -5.0) == 0
    assert traffic.share(0, 86_400, 90_000.0) == 1


def test_a_spike_counts_and_is_not_taken_for_a_new_level():
    traffic = Traffic()
    for hour in range(12):
        traffic.count(hour * 3600.0 + 1, 500 if hour == 5 else 100)
        for quarter in range(1, 4):
            traffic.count(hour * 3600.0 + quarter * 900, 500 if hour == 5 else 100)
    assert traffic.share(0, 86_400, 12 * 3600.0) == pytest.approx(16 / 28)


def test_half_the_traffic_is_a_level():
    traffic = Traffic()
    for slot in range(48):
        traffic.count(slot * 900.0, 50)
    assert traffic.share(0, 86_400, 12 * 3600.0) == pytest.approx(0.5)


def test_what_is_wrong_is_named():
    for forecast in ((1.0,) * 23, (0.0,) * 24, (-1.0,) * 24):
        with pytest.raises(InputError, match="hourly_forecast"):
            Traffic(forecast)
    with pytest.raises(SettingsError, match="horizon"):
        PacingSettings(horizon=0.0)
