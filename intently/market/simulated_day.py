"""A day of traffic for one campaign, simulated: what pacing does with a budget, before money is at stake.

Requests come in each minute by a Poisson law whose mean follows `hourly_traffic`. The pacer decides on each of them; a
shown ad is clicked with `click_rate`, and the click's event arrives after an exponential delay. Some events arrive
twice, and some hours late. Seeded: the same settings give the same day.
"""

import heapq
from dataclasses import dataclass

import numpy as np

from intently.market.ledger import Budget, Event, EventKind, Ledger
from intently.market.pacing import Pace, Pacer
from intently.market.traffic import Traffic

DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class SimulatedDay:
    """What a simulated day is like. `demand` is what an unthrottled campaign would spend, in budgets."""

    hourly_traffic: tuple[float, ...]  # requests an hour, on average; one number for each hour of the day
    hourly_forecast: tuple[float, ...] = (1.0,) * 24
    demand: float = 4.0
    daily_micros: int = 100_000_000
    click_rate: float = 0.05
    event_delay_s: float = 60.0  # mean
    repeated_share: float = 0.05  # of the events; they arrive a second time within hours
    late_share: float = 0.02  # of the events; they arrive within hours
    days: int = 1  # the last one is reported; the ones before teach the pacer
    seed: int = 0


@dataclass(frozen=True, slots=True)
class DayReport:
    """How the last day went. Shares are of the budget."""

    spent_share: float  # of the budget, by the time at which clicks happened
    largest_deviation: float  # |share spent - share of the requests that were over|, at the end of each hour but one
    num_requests: int
    num_clicks: int
    num_repeated: int


def simulate_day(day: SimulatedDay) -> DayReport:
    """Return how pacing spends a budget on a simulated day. Cost: some 5 µs a request."""
    rng = np.random.default_rng(day.seed)
    ledger = Ledger([Budget("campaign", day.daily_micros)])
    traffic = Traffic(day.hourly_forecast)
    pacer = Pacer(ledger, traffic)
    price = day.daily_micros * day.demand / (sum(day.hourly_traffic) * day.click_rate)
    arriving: list[tuple[float, int, Event]] = []  # by the instant at which they arrive
    spent: list[tuple[float, int]] = []
    num_requests = num_events = num_repeated = 0
    asked: list[float] = []
    for minute in range(day.days * DAY_S // 60):
        is_last = minute >= (day.days - 1) * DAY_S // 60
        mean = day.hourly_traffic[minute // 60 % 24] / 60
        instants = np.sort(minute * 60 + 60 * rng.random(rng.poisson(mean))).tolist()
        for at_s in instants:
            while arriving and arriving[0][0] <= at_s:
                ledger.record(heapq.heappop(arriving)[2])
            traffic.count(at_s)
            num_requests += 1
            if is_last:
                asked.append(at_s)
            bid = int(price * rng.uniform(0.5, 1.5))
            paced = pacer.decide("campaign", f"request {num_requests}", at_s, bid)
            if paced.pace is not Pace.TAKES_PART or rng.random() >= day.click_rate:
                continue
            num_events += 1
            clicked_s = at_s + rng.exponential(day.event_delay_s)
            event = Event(f"click {num_events}", "campaign", EventKind.CLICK, clicked_s, bid)
            late_s = rng.uniform(0, 6 * 3600) if rng.random() < day.late_share else 0.0
            heapq.heappush(arriving, (clicked_s + late_s, 2 * num_events, event))
            if rng.random() < day.repeated_share:
                num_repeated += 1
                heapq.heappush(arriving, (clicked_s + rng.uniform(0, 6 * 3600), 2 * num_events + 1, event))
            if is_last and clicked_s < day.days * DAY_S:
                spent.append((clicked_s, bid))
    while arriving:
        ledger.record(heapq.heappop(arriving)[2])
    begin = (day.days - 1) * DAY_S
    hours = begin + 3600 * np.arange(2, 25)
    amounts = np.array([micros for _, micros in spent])
    by = np.array([at_s for at_s, _ in spent])
    cumulative = np.array([amounts[by < hour].sum() for hour in hours]) / day.daily_micros
    over = np.searchsorted(np.array(asked), hours) / max(len(asked), 1)
    return DayReport(
        spent_share=ledger.spent_micros("campaign", begin) / day.daily_micros,
        largest_deviation=float(np.abs(cumulative - over).max()),
        num_requests=len(asked),
        num_clicks=len(spent),
        num_repeated=num_repeated,
    )
