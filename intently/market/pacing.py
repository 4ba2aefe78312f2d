"""Pacing: a campaign takes part in such a share of the requests that its budget lasts for the day's traffic.

A campaign is throttled, its bids are not changed (Agarwal, Ghosh, Wei and You, "Budget Pacing for Targeted Online
Advertisements at LinkedIn", KDD 2014). Once a minute its probability of taking part becomes

    p = (1 + (s - f) / min(1 - s, 0.1)) / rate

where s is the share of the day's traffic that is over, f the share of the budget that is spent, and `rate` what the
campaign would spend of its budget in the whole day's traffic if it were never throttled. The error s - f is the
proportional part: it is to be made up within the next tenth of the traffic. `rate` is learned from what was spent while
the campaign took part with which probability, the newest hours most: this is the integral part. It cannot wind up,
as it learns a fact and does not add up errors.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import Any

from intently.errors import SettingsError
from intently.market.ledger import Ledger
from intently.market.traffic import Traffic


class Pace(StrEnum):
    """Whether a campaign takes part in an auction."""

    TAKES_PART = "takes_part"
    THROTTLED = "throttled"  # so that the budget lasts
    OUT_OF_BUDGET = "out_of_budget"  # what is left of the day's budget does not pay one more click


@dataclass(frozen=True, slots=True)
class Paced:
    """The answer for one campaign and one request. `probability` is the propensity to be logged."""

    pace: Pace
    probability: float


@dataclass(frozen=True, slots=True)
class PacingSettings:
    """Expert settings of the pacing. Raises `SettingsError` for a value out of range."""

    interval_s: float = 60.0  # between two adjustments
    horizon: float = 0.1  # share of the traffic within which an error is to be made up
    memory: float = 0.1  # share of the traffic after which an observation counts 1/e
    first_probability: float = 0.1  # as long as nothing is known about a campaign
    least_probability: float = 0.0005  # so that a campaign goes on to be observed

    def __post_init__(self) -> None:
        if not 1 <= self.interval_s <= 3600:
            raise SettingsError(f"interval_s is {self.interval_s}; it takes 1 to 3600")
        for name in ("horizon", "memory", "first_probability", "least_probability"):
            if not 0 < getattr(self, name) <= 1:
                raise SettingsError(f"{name} is {getattr(self, name)}; it takes numbers above 0 up to 1")


@dataclass(slots=True)
class _Course:
    """What is remembered of one campaign."""

    day: int  # start of the day that is under way
    at_s: float  # of the last adjustment
    share: float
    fraction: float  # of the budget, spent
    probability: float
    exposure: float = 0.0  # traffic share in which the campaign took part, the newest counting most
    spent: float = 0.0  # fraction of the budget spent in it


class Pacer:
    """Decides for each request whether a campaign takes part. One object serves all campaigns of a ledger."""

    def __init__(self, ledger: Ledger, traffic: Traffic, settings: PacingSettings | None = None):
        self.ledger, self.traffic, self.settings = ledger, traffic, settings or PacingSettings()
        self._courses: dict[str, _Course] = {}

    def decide(self, campaign_id: str, request_id: str, at_s: float, most_micros: int = 1) -> Paced:
        """Return whether a campaign takes part in a request.

        The choice is a hash of both ids: asked again, it is the same. `most_micros` is the most that one click can
        cost, usually the bid: a campaign that could not pay it is out of budget. A campaign without a budget always
        takes part. Cost: a microsecond, and a pass over the day's quarters of an hour once a minute.
        """
        if campaign_id not in self.ledger.budgets:
            return Paced(Pace.TAKES_PART, 1.0)
        if self.ledger.left_micros(campaign_id, at_s) < most_micros:
            return Paced(Pace.OUT_OF_BUDGET, 0.0)
        probability = self.probability(campaign_id, at_s)
        drawn = int.from_bytes(blake2b(f"{campaign_id}\0{request_id}".encode(), digest_size=8).digest()) / 2**64
        return Paced(Pace.TAKES_PART if drawn < probability else Pace.THROTTLED, probability)

    def probability(self, campaign_id: str, at_s: float) -> float:
        """Return how probably a campaign takes part at an instant; adjusts it if a minute has passed."""
        course = self._courses.get(campaign_id)
        if course is None or abs(at_s - course.at_s) >= self.settings.interval_s:
            course = self._adjust(campaign_id, course, at_s)
        return course.probability

    def _adjust(self, campaign_id: str, course: _Course | None, at_s: float) -> _Course:
        settings = self.settings
        start, end = self.ledger.day(campaign_id, at_s)
        share = self.traffic.share(start, end, at_s)
        fraction = self.ledger.spent_micros(campaign_id, at_s) / self.ledger.budgets[campaign_id].daily_micros
        if course is None:
            course = _Course(start, at_s, share, fraction, settings.first_probability)
            self._courses[campaign_id] = course
            return course
        # Between two days, and where a clock went back, nothing can be learned.
        if course.day == start and (passed := share - course.share) > 0:
            fading = 2.718281828459045 ** (-passed / settings.memory)
            course.exposure = course.exposure * fading + passed * course.probability
            course.spent = course.spent * fading + max(0.0, fraction - course.fraction)
        if course.spent > 0:
            rate = course.spent / course.exposure
            wanted = 1 + (share - fraction) / max(min(1 - share, settings.horizon), 1e-3)
            course.probability = min(max(wanted / rate, settings.least_probability), 1.0)
        elif course.day == start and course.exposure > settings.memory / 10:
            # Nothing was spent in a hundredth of the traffic: the campaign is throttled too much.
            course.probability = min(course.probability * 1.1, 1.0)
        course.day, course.at_s, course.share, course.fraction = start, at_s, share, fraction
        return course

    def state(self) -> dict[str, Any]:
        """Return everything, ledger and traffic included, as values of JSON, for `restore`."""
        courses = {
            campaign_id: [each.day, each.at_s, each.share, each.fraction, each.probability, each.exposure, each.spent]
            for campaign_id, each in self._courses.items()
        }
        return {"ledger": self.ledger.state(), "traffic": self.traffic.state(), "courses": courses}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned: the pacer then goes on as if nothing had happened."""
        self.ledger.restore(state["ledger"])
        self.traffic.restore(state["traffic"])
        self._courses = {campaign_id: _Course(*values) for campaign_id, values in state["courses"].items()}
