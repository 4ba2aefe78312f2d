"""The records that stages exchange: small, frozen, with the same words everywhere.

`ad_id` is the user's string, `ad_row` the position in the catalog's columns. A higher `score` is better; `rank`
starts at 1. `log_prob` is a natural logarithm summed over tokens. A catalog of millions of ads is *not* a list of
`Ad`: it is columns (see `intently.catalog.Catalog`). `Ad` is one row of it, as a record.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from intently.errors import InputError

logger = logging.getLogger(__name__)

MAX_QUERY_LENGTH = 2_000  # characters; a longer "query" is a document or an attack
MAX_EXCLUDED = 10_000  # ads that a request may leave out

Progress = Callable[[str, int, int, str], None]
"""Progress callback, called periodically by long-running stages: `(stage, done, total, note)`.

`stage` names the work for a person to read. `done` of `total` parts are finished; a total of 0 means that the total is
unknown. `note` is a short remark beside the amount (losses, a unit), or empty. `StageProgress` shows it.
"""


class Channel(StrEnum):
    """The ways from a query to ads, and their fusion."""

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

    Write values as people write them: `intently.catalog.checked_user` reads them and refuses those that it does not
    understand.
    """

    country: str | None = None  # "DE", "Germany"
    language: str | None = None  # "de", "en-US"
    device: str | None = None  # "mobile", "computers"
    time: datetime | None = None  # the user's local time; one with a zone needs `time_zone`
    audiences: frozenset[str] | set[str] | list[str] | tuple[str, ...] | None = None
    time_zone: str | None = None  # "Europe/Berlin"


@dataclass(frozen=True, slots=True)
class Request:
    """A query and how to answer it. Raises `InputError` for every value that is not valid."""

    query: str
    k: int = 10
    user: UserContext | None = None
    channel: Channel = Channel.FUSED
    explain: bool = False  # with the reasons of each ad
    exclude: frozenset[str] = frozenset()  # ids of ads to leave out
    min_seq: int = 0  # number of a change that the answer has to show; 0: whatever is there

    def __post_init__(self) -> None:
        try:
            self._check()
        except InputError as error:
            logger.debug("request refused: %s", error)
            raise

    def _check(self) -> None:
        _check_query(self.query)
        if type(self.k) is not int or self.k < 1:
            raise InputError(f"k is {self.k!r}", cure="ask for a whole number of ads, at least 1", field="k")
        if self.user is not None and not isinstance(self.user, UserContext):
            raise InputError(
                f"expected a UserContext, got {type(self.user).__name__}", cure="pass UserContext(...)", field="user"
            )
        try:
            object.__setattr__(self, "channel", Channel(self.channel))
        except ValueError:
            raise InputError(
                f"{self.channel!r} is not a channel", cure=f"use one of {', '.join(Channel)}", field="channel"
            ) from None
        if type(self.explain) is not bool:
            raise InputError(f"explain is {self.explain!r}", cure="pass True or False", field="explain")
        if isinstance(self.exclude, str) or not hasattr(self.exclude, "__iter__"):
            raise InputError(f"expected ids, got {self.exclude!r}", cure="pass a list of ids", field="exclude")
        if type(self.min_seq) is not int or self.min_seq < 0:
            raise InputError(f"min_seq is {self.min_seq!r}", cure="pass the number of a change", field="min_seq")
        excluded = list(self.exclude)
        if len(excluded) > MAX_EXCLUDED or not all(isinstance(ad_id, str) for ad_id in excluded):
            raise InputError(
                f"expected at most {MAX_EXCLUDED} texts, got {len(excluded)} values", cure="pass ids", field="exclude"
            )
        object.__setattr__(self, "exclude", frozenset(excluded))


def _check_query(query: object) -> None:
    if not isinstance(query, str):
        raise InputError(f"expected a text, got {type(query).__name__}", cure="pass a string", field="query")
    if not query.strip():
        raise InputError("the query is empty", cure="pass at least one character that is not a space", field="query")
    if len(query) > MAX_QUERY_LENGTH:
        raise InputError(
            f"the query has {len(query)} characters",
            cure=f"pass at most {MAX_QUERY_LENGTH}; longer text is a document",
            field="query",
        )
    try:
        query.encode()
    except UnicodeEncodeError:
        raise InputError(
            "the query is not valid Unicode (a lone surrogate)", cure="pass text read as UTF-8", field="query"
        ) from None


@dataclass(frozen=True, slots=True)
class Put:
    """A change: add this ad, or put it in the place of the one with its id."""

    ad: Ad


@dataclass(frozen=True, slots=True)
class Patch:
    """A change: give some fields of an existing ad other values; the others stay."""

    ad_id: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Delete:
    """A change: remove an ad. Deleting an ad that is not there changes nothing."""

    ad_id: str


Change = Put | Patch | Delete


@dataclass(frozen=True, slots=True)
class Intention:
    """A short phrase naming what is wanted or offered, with its log-probability for one query."""

    text: str
    log_prob: float


@dataclass(frozen=True, slots=True)
class Reason:
    """Why one channel found an ad.

    `rank` and `score` are the ad's place in that channel alone. `evidence` is readable: an intention with its share of
    the score, a matched term with its share, or the cosine similarity.
    """

    channel: Channel
    rank: int
    score: float
    evidence: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class ScoredAd:
    """One returned ad: its rank from 1, its score (higher is better), and the reasons why it was found."""

    ad_id: str
    rank: int
    score: float
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Ranking:
    """The answer to one request, best ad first."""

    query: str
    ads: tuple[ScoredAd, ...]
    intentions: tuple[Intention, ...] = ()
    timings_ms: dict[str, float] = field(default_factory=dict)
    cached: bool = False  # whether the intentions came from the query cache, not from the student
    read_as: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # word of the query → words searched besides
    generation: str = ""  # id of the one that answered; empty for an engine that was never written
    seq: int = 0  # number of the newest change that the answer shows

    def __len__(self) -> int:
        return len(self.ads)

    def __iter__(self) -> Iterator[ScoredAd]:
        return iter(self.ads)

    def to_dict(self) -> dict[str, Any]:
        """Return the ranking as plain values, ready for JSON."""
        return asdict(self)
