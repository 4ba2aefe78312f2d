"""The traffic of a simulated experiment: visits, split over retrieval systems behind one auction and one pacing.

Each arm has its share of every advertiser's budget, so that arms do not take money from each other. What comes after
retrieval is the same for all: a ranking model that knows an ad's click rate up to noise, pacing, a GSP auction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache

import numpy as np

from intently.arrays import Float64Array, IntArray
from intently.lab.world.shoppers import ATTRACTION, HOURS, Shoppers, ShopperSettings, draw_visits
from intently.market import (
    MICROS,
    AuctionRules,
    Bidders,
    Budget,
    Event,
    EventKind,
    Ledger,
    Pace,
    Pacer,
    PacingSettings,
    Traffic,
    run_auction,
)
from intently.market.experiments import Experiment
from intently.types import Progress

METRICS = ("visits", "impressions", "clicks", "shallow", "deep", "consumption", "gmv")
NOISE = 0.5  # standard deviation of the logarithm of the ranking model's click rates
START_S = datetime(2026, 6, 1, tzinfo=UTC).timestamp()  # any midnight


@dataclass(frozen=True, slots=True)
class TrafficSettings:
    """Who visits, and the market that all arms share."""

    shoppers: ShopperSettings = field(default_factory=ShopperSettings)
    depth: int = 50  # ads that a system hands to the auction
    reserve: float = 0.05  # least price of a click
    least_click_rate: float = 0.03  # ads that the ranking model expects to be clicked less are not shown
    budget_a_visit: float = 0.3  # all daily budgets together, for each visit of a day
    slot_clicks: tuple[float, ...] = (1.0, 0.75, 0.55, 0.4)


@dataclass(frozen=True, slots=True)
class Offer:
    """The ads, as columns (N,): bids in currency units, numbers of advertisers; and what is wanted of them.

    `grades[q]` gives the grade of each ad row that is not 0 for query q; `rankings[arm][q]` are rows, best first.
    """

    bids: Float64Array
    advertisers: IntArray
    grades: Sequence[Mapping[int, int]]
    rankings: Mapping[str, Sequence[IntArray]]


@dataclass(frozen=True, slots=True)
class ArmOutcome:
    """What one arm did: metrics by query (Q, M), what ads paid (N,), budgets of advertisers (A,), impressions (N,)."""

    by_query: Float64Array
    spent: Float64Array
    budget: Float64Array
    shown: IntArray


@dataclass(frozen=True, slots=True)
class TrafficOutcome:
    """What all arms did. `variants` (U,) is each shopper's arm, by number; `before` (U,) the covariate."""

    arms: Mapping[str, ArmOutcome]
    by_shopper: Float64Array  # metrics (U, M)
    variants: IntArray
    before: IntArray
    visits: IntArray  # (Q,) of each query, over all arms
    advertisers: IntArray  # (N,) of each ad


class _Candidates:
    """What an arm finds for a query, in the auction's order: who is admitted first is also the best."""

    def __init__(self, rows: IntArray, bids: Float64Array, quality: Float64Array, grades: IntArray, owners: IntArray):
        order = np.argsort(-bids * quality, kind="stable")
        self.rows, self.bids, self.quality, self.grades = rows[order], bids[order], quality[order], grades[order]
        self.owners = [str(owner) for owner in owners[order].tolist()]
        self.micros = np.ceil(self.bids * MICROS).astype(np.int64).tolist()


class _Arm:
    """One arm under way."""

    def __init__(self, name: str, offer: Offer, settings: TrafficSettings, budgets: Float64Array):
        self.name, self.budgets, self._offer, self._settings = name, budgets, offer, settings
        micros = np.maximum(np.rint(budgets * MICROS).astype(np.int64), 1).tolist()
        self.ledger = Ledger(Budget(str(number), each) for number, each in enumerate(micros))
        self.traffic = Traffic(HOURS)
        # Most of these budgets are a few clicks a day: nothing is throttled before its rate is known.
        self.pacer = Pacer(self.ledger, self.traffic, PacingSettings(first_probability=1.0))
        self.by_query = np.zeros((len(offer.grades), len(METRICS)))
        self.spent = np.zeros(len(offer.bids))
        self.shown = np.zeros(len(offer.bids), np.int64)
        num_slots = len(settings.slot_clicks)
        self._rules = AuctionRules(settings.slot_clicks, (settings.reserve,) * num_slots)
        self._candidates: dict[int, _Candidates] = {}
        self.auction = lru_cache(maxsize=65_536)(self._auction)  # queries repeat, and so do auctions

    def candidates(self, query: int) -> _Candidates:
        """Return the ads that this arm finds for a query, and that may be shown."""
        if (known := self._candidates.get(query)) is None:
            known = self._candidates[query] = self._found(query)
        return known

    def _found(self, query: int) -> _Candidates:
        offer, settings, seed = self._offer, self._settings, self._settings.shoppers.seed
        rows = np.asarray(offer.rankings[self.name][query][: settings.depth], np.int64)
        grades = np.array([offer.grades[query].get(row, 0) for row in rows.tolist()], np.int64)
        # The ranking model errs in the same way about the same ad and query, whoever found the ad.
        noise = np.random.default_rng([seed, 5, query]).standard_normal(len(offer.bids))[rows]
        quality = ATTRACTION[grades] * np.exp(NOISE * noise)
        kept = (offer.bids[rows] >= settings.reserve) & (quality >= settings.least_click_rate)
        rows, quality, grades = rows[kept], quality[kept], grades[kept]
        return _Candidates(rows, offer.bids[rows], quality, grades, offer.advertisers[rows])

    def admitted(self, query: int, visit: int, now_s: float) -> tuple[int, ...]:
        """Return which candidates take part: as many as win, and the one after them, who decides the last price.

        Those further down change neither winners nor prices.
        """
        found, request = self.candidates(query), str(visit)
        admitted: list[int] = []
        for at, (owner, micros) in enumerate(zip(found.owners, found.micros, strict=True)):
            if self.pacer.decide(owner, request, now_s, micros).pace is Pace.TAKES_PART:
                admitted.append(at)
                if len(admitted) > len(self._settings.slot_clicks):
                    break
        return tuple(admitted)

    def _auction(self, query: int, admitted: tuple[int, ...]) -> tuple[list[int], list[int]]:
        """Return the winning candidates, best slot first, and the micros that a click on each costs."""
        found, at = self.candidates(query), list(admitted)
        outcome = run_auction(Bidders.of(found.bids[at], quality=found.quality[at]), self._rules)
        return [at[row] for row in outcome.rows.tolist()], np.rint(outcome.prices * MICROS).astype(int).tolist()


def run_traffic(offer: Offer, settings: TrafficSettings, experiment: Experiment, progress: Progress) -> TrafficOutcome:
    """Return what each arm did with its share of the visits.

    Deterministic: the same offer, settings and experiment give the same outcome. Cost: some 0.1 ms a visit.
    """
    shoppers, names = settings.shoppers, list(experiment.shares)
    visits = draw_visits(len(offer.grades), shoppers)
    behavior = Shoppers(len(settings.slot_clicks), len(offer.bids), shoppers.seed)
    variants = np.array(
        [names.index(experiment.variant(f"shopper {number}") or names[0]) for number in range(shoppers.num_shoppers)]
    )
    budgets = _budgets(offer, settings, len(visits.query) / shoppers.num_days)
    arms = [_Arm(name, offer, settings, budgets * experiment.shares[name]) for name in names]
    by_shopper = np.zeros((shoppers.num_shoppers, len(METRICS)))
    columns = zip(visits.shopper.tolist(), visits.query.tolist(), visits.at_s.tolist(), strict=True)
    for visit, (shopper, query, at_s) in enumerate(columns):
        arm, now_s = arms[variants[shopper]], START_S + at_s
        arm.traffic.count(now_s)
        seen = _visit(arm, behavior, visit, query, now_s)
        by_shopper[shopper] += seen
        arm.by_query[query] += seen
        if visit % 20_000 == 0:
            progress("Shopping", visit, len(visits.query), "visits")
    progress("Shopping", len(visits.query), len(visits.query), "visits")
    total = {arm.name: ArmOutcome(arm.by_query, arm.spent, arm.budgets * shoppers.num_days, arm.shown) for arm in arms}
    asked = np.bincount(visits.query, minlength=len(offer.grades))
    return TrafficOutcome(total, by_shopper, variants, visits.before, asked, offer.advertisers)


def _budgets(offer: Offer, settings: TrafficSettings, visits_a_day: float) -> Float64Array:
    """Return daily budgets (A,): in proportion to the advertiser's bids, and log-normal around that."""
    rng = np.random.default_rng([settings.shoppers.seed, 4])
    bids = np.bincount(offer.advertisers, weights=offer.bids)
    sizes = bids * np.exp(rng.standard_normal(len(bids)))
    return np.asarray(sizes / sizes.sum() * settings.budget_a_visit * visits_a_day)


def _visit(arm: _Arm, behavior: Shoppers, visit: int, query: int, now_s: float) -> Float64Array:
    """Answer one visit, and return its metrics (M,)."""
    admitted = arm.admitted(query, visit, now_s)
    if not admitted:
        return np.array([1.0, *[0.0] * (len(METRICS) - 1)])
    found = arm.candidates(query)
    won, prices = arm.auction(query, admitted)
    rows = found.rows[won]
    did = behavior.behave(visit, rows, found.grades[won])
    arm.shown[rows] += 1
    consumption = 0.0
    for at in np.flatnonzero(did.clicked).tolist():
        owner, micros = found.owners[won[at]], prices[at]
        arm.ledger.record(Event(f"{visit} {at}", owner, EventKind.CLICK, now_s, micros))
        arm.spent[rows[at]] += micros / MICROS
        consumption += micros / MICROS
    counts = (did.clicked.sum(), did.shallow.sum(), did.deep.sum())
    return np.array([1.0, len(won), *counts, consumption, did.value.sum()], np.float64)
