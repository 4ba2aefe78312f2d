"""Counterfactual estimates: what another system would have earned on the traffic that one system answered."""

from intently.market.estimates.estimate import FEWEST_EFFECTIVE, Estimate
from intently.market.estimates.records import AnswerRecord, ShownAd, answer_record
from intently.market.estimates.single import clipped_ips, doubly_robust, ips, snips
from intently.market.estimates.slates import cascade_ips, position_based_ips

__all__ = [
    "FEWEST_EFFECTIVE",
    "AnswerRecord",
    "Estimate",
    "ShownAd",
    "answer_record",
    "cascade_ips",
    "clipped_ips",
    "doubly_robust",
    "ips",
    "position_based_ips",
    "snips",
]
