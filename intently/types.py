"""What stages exchange: small frozen records, the same words everywhere.

`ad_id` is the user's string, `ad_row` the position in the catalogue's columns. A higher `score` is better; `rank`
starts at 1. `log_prob` is a natural logarithm summed over tokens. A catalogue of millions of ads is *not* a list of
`Ad`: it is columns (see `intently.catalog.Catalog`); `Ad` is what one row looks like when somebody wants to see it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

Progress = Callable[[str, int, int, str], None]
"""Told now and then by whatever takes long: `(stage, done, total, note)`.

`stage` names what is being done, as a person reads it; of that, `done` of `total` parts are done (a total of 0: nobody
knows). `note` is a short remark beside the amount (losses, a unit), empty for none. `StageProgress` shows it.
"""


class Channel(StrEnum):
    """The ways a query can reach an ad, and their fusion."""

    INTENTION = "intention"
    DENSE = "dense"
    LEXICAL = "lexical"
    FUSED = "fused"


@dataclass(frozen=True, slots=True)
class Span:
    """One piece of text that OCR read on a landing page, with its confidence in [0, 1]."""

    text: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Ad:
    """One advertisement. Only `ad_id` and `title` are required; empty targeting reaches everybody."""

    ad_id: str
    title: str
    description: str = ""
    landing_text: str = ""
    landing_spans: tuple[Span, ...] = ()
    keywords: tuple[str, ...] = ()  # bid keywords
    advertiser: str = ""
    category: str = ""
    bid: float | None = None  # currency units a click
    status: str = "active"  # active | paused | ended
    countries: tuple[str, ...] = ()  # of ISO 3166: "DE"
    languages: tuple[str, ...] = ()  # tags of BCP 47: "zh"
    devices: tuple[str, ...] = ()  # "mobile", "desktop", "tablet", ...
    day_parts: tuple[str, ...] = ()  # "mon-fri@9-18": days, then hours [start, end)
    audiences: tuple[str, ...] = ()  # audience tags; any one of them admits


@dataclass(frozen=True, slots=True)
class UserContext:
    """Who is asking, for targeting. A field left `None` is unknown and filters nothing.

    Values are written as people write them: `intently.catalog.checked_user` reads them and refuses what it does not
    understand.
    """

    country: str | None = None  # "DE", "Germany"
    language: str | None = None  # "de", "en-US"
    device: str | None = None  # "mobile", "computers"
    time: datetime | None = None  # the user's local time; one with a zone needs `time_zone`
    audiences: frozenset[str] | set[str] | list[str] | tuple[str, ...] | None = None
    time_zone: str | None = None  # "Europe/Berlin"


@dataclass(frozen=True, slots=True)
class Intention:
    """A short phrase naming what is wanted or offered, as one query came to it."""

    text: str
    log_prob: float


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an ad was returned: what one channel saw in it.

    `rank` and `score` are the ad's place in that channel alone. `evidence` is readable: an intention with its
    probability, a matched term with its share of the score, or the cosine similarity.
    """

    channel: Channel
    rank: int
    score: float
    evidence: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class ScoredAd:
    """One returned ad: its rank from 1, its score (higher is better), and the reasons it came."""

    ad_id: str
    rank: int
    score: float
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Ranking:
    """The answer to one query, best ad first."""

    query: str
    ads: tuple[ScoredAd, ...]
    intentions: tuple[Intention, ...] = ()
    timings_ms: dict[str, float] = field(default_factory=dict)
    cached: bool = False  # whether the intentions came from the query cache, not from the student
