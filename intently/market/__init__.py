"""The market: auction, budgets, frequency caps, click models, counterfactual estimates and experiments in traffic.

Everything here is a pure function or an object that holds state and does no I/O. The engine does not use it: the order
of relevance stays as it is unless somebody asks for an auction.
"""

from intently.market.auction import AuctionRules, Bidders, Outcome, Pricing, run_auction
from intently.market.frequency import Anonymous, FrequencyCap, FrequencyCaps
from intently.market.ledger import MICROS, Budget, Event, EventKind, Ledger, Recorded
from intently.market.pacing import Pace, Paced, Pacer, PacingSettings
from intently.market.priced import PricedAd, priced_ranking
from intently.market.simulated_day import DayReport, SimulatedDay, simulate_day
from intently.market.traffic import Traffic

__all__ = [
    "MICROS",
    "Anonymous",
    "AuctionRules",
    "Bidders",
    "Budget",
    "DayReport",
    "Event",
    "EventKind",
    "FrequencyCap",
    "FrequencyCaps",
    "Ledger",
    "Outcome",
    "Pace",
    "Paced",
    "Pacer",
    "PacingSettings",
    "PricedAd",
    "Pricing",
    "Recorded",
    "SimulatedDay",
    "Traffic",
    "priced_ranking",
    "run_auction",
    "simulate_day",
]
