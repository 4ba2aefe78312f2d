"""What an answer has to leave in a log, so that somebody can later estimate what another system would have earned.

What is not logged when the answer is given cannot be found out afterwards, propensities least of all. One record an
answer, one line of JSON; clicks and purchases come later as events with the same `request_id`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from intently.errors import InputError
from intently.types import Ranking


@dataclass(frozen=True, slots=True)
class ShownAd:
    """One ad of an answer."""

    ad_id: str
    position: int  # from 1
    score: float
    propensity: float = 1.0  # with which this ad came to this position given those above; 1: no chance was involved
    score_parts: Mapping[str, float] = field(default_factory=dict)  # by channel; bid, quality, price, if there are any

    def __post_init__(self) -> None:
        if not 0 < self.propensity <= 1:
            told = f"ad {self.ad_id!r} has {self.propensity!r}"
            raise InputError(told, cure="what was shown had a probability above 0", field="propensity")


@dataclass(frozen=True, slots=True)
class AnswerRecord:
    """One answer, as it is logged."""

    request_id: str  # unique; events carry it
    query: str
    ads: tuple[ShownAd, ...]
    generation: str  # which engine answered
    seq: int  # and the newest change it had seen
    at_s: float  # when, seconds since 1970 UTC
    experiment: str = ""  # its name, which is also the salt of its buckets
    variant: str = ""
    bucket: int = -1  # of the unit (user, session); -1: none
    seed: int = -1  # of what chance decided; -1: nothing
    verdicts: Mapping[str, str] = field(default_factory=dict)  # ad id → the rule that kept it out: "out_of_budget"
    degraded: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the record as values of JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "AnswerRecord":
        """Return the record of which `to_dict` gave the values. Raises `InputError` for what is none."""
        try:
            ads = tuple(ShownAd(**ad) for ad in values["ads"])
            return cls(**{**values, "ads": ads, "degraded": tuple(values.get("degraded", ()))})
        except (KeyError, TypeError) as error:
            cure = "pass what AnswerRecord.to_dict wrote"
            raise InputError(f"this is no record of an answer: {error}", cure=cure, field="ads") from None


def answer_record(
    ranking: Ranking,
    request_id: str,
    at_s: float,
    *,
    experiment: str = "",
    variant: str = "",
    bucket: int = -1,
    seed: int = -1,
    propensities: Mapping[str, float] | None = None,
    score_parts: Mapping[str, Mapping[str, float]] | None = None,
    verdicts: Mapping[str, str] | None = None,
) -> AnswerRecord:
    """Return the record of an engine's answer.

    `propensities` and `score_parts` are by ad id. An ad without a propensity was shown without any chance (1.0);
    without parts, it has those of the reasons that the ranking was explained with.
    """
    chances, parts = propensities or {}, score_parts or {}
    ads = tuple(
        ShownAd(
            ad.ad_id,
            position,
            ad.score,
            chances.get(ad.ad_id, 1.0),
            dict(parts.get(ad.ad_id) or {str(reason.channel): reason.score for reason in ad.reasons}),
        )
        for position, ad in enumerate(ranking.ads, 1)
    )
    return AnswerRecord(
        request_id=request_id,
        query=ranking.query,
        ads=ads,
        generation=ranking.generation,
        seq=ranking.seq,
        at_s=at_s,
        experiment=experiment,
        variant=variant,
        bucket=bucket,
        seed=seed,
        verdicts=dict(verdicts or {}),
        degraded=tuple(str(each) for each in ranking.degraded),
    )
