"""The records that stages exchange: small, frozen, with the same words everywhere.

`ad_id` is the user's string, `ad_row` the position in the catalog's columns. A higher `score` is better; `rank`
starts at 1. `log_prob` is a natural logarithm summed over tokens. A catalog of millions of ads is *not* a list of
`Ad`: it is columns (see `intently.catalog.Catalog`). `Ad` is one row of it, as a record.
"""

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, overload

from intently.errors import InputError
from intently.filters import Expression, as_expression
from intently.frames import to_frame, to_html
from intently.frozen import EMPTY, FrozenDict, frozen

logger = logging.getLogger(__name__)

MAX_QUERY_LENGTH = 2_000  # characters; a longer "query" is a document or an attack
MAX_EXCLUDED = 10_000  # ads that a request may leave out
MAX_COLUMNS = 100  # that a request may ask for, or cap
EVERYTHING = "*"  # in a request's `payload`: all that an ad's payload holds

Progress = Callable[[str, int, int, str], None]
"""Progress callback, called periodically by long-running stages: `(stage, done, total, note)`.

`stage` names the work for a person to read. `done` of `total` parts are finished; a total of 0 means that the total is
unknown. `note` is a short remark beside the amount (losses, a unit), or empty. `StageProgress` shows it.
"""


class Degraded(StrEnum):
    """The stages that a deadline may leave out of an answer."""

    INTENTIONS_SKIPPED = "intentions_skipped"  # the student did not read the query; words alone found ads
    DENSE_SKIPPED = "dense_skipped"
    FUSION_FALLBACK = "fusion_fallback"  # reciprocal ranks stood in for the learned fusion
    DEPTH_REDUCED = "depth_reduced"  # there may be more ads than those returned
    EXPLAIN_SKIPPED = "explain_skipped"


class Channel(StrEnum):
    """The ways from a query to ads, and their fusion."""

    INTENTION = "intention"
    DENSE = "dense"
    LEXICAL = "lexical"
    KEYWORD = "keyword"
    FUSED = "fused"


@dataclass(frozen=True, slots=True)
class Span:
    """One piece of text that OCR read on a landing page, with its confidence in [0, 1]."""

    text: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Ad:
    """One advertisement. Only `ad_id` and `title` are required; empty targeting reaches everybody.

    `payload` holds what a front end shows, or a filter asks about, beside these fields: any values of JSON by name. It
    is kept as a `FrozenDict`, so that an ad can be shared and hashed. Raises `InputError` for what JSON does not have,
    and for a name that is a field.
    """

    ad_id: str
    title: str
    description: str = ""
    landing_text: str = ""
    landing_spans: tuple[Span, ...] = ()
    keywords: tuple[str, ...] = ()  # bid keywords: "garden hose", "[exact]", '"phrase"'
    advertiser: str = ""
    category: str = ""
    bid: float | None = None  # currency units a click
    status: str = "active"  # active | paused | ended
    countries: tuple[str, ...] = ()  # of ISO 3166: "DE"
    languages: tuple[str, ...] = ()  # tags of BCP 47: "zh"
    devices: tuple[str, ...] = ()  # "mobile", "desktop", "tablet", ...
    day_parts: tuple[str, ...] = ()  # "mon-fri@9-18": days, then hours [start, end), of the user or a named time zone
    audiences: tuple[str, ...] = ()  # audience tags; any one of them admits
    negative_keywords: tuple[str, ...] = ()  # a query that one of them matches never gets the ad
    negative_lists: tuple[str, ...] = ()  # names of lists of such: "campaign summer", "account"; see `PutList`
    targeting: str = ""  # 'country in ("DE", "AT") and age >= 18': a condition on the user that has to be true
    labels: tuple[str, ...] = ()  # of brand safety: "alcohol", "gambling"
    starts: str = ""  # the first instant at which the ad may be shown: "2026-12-01T00:00:00+01:00"
    ends: str = ""  # the first instant at which it may be shown no more
    payload: Mapping[str, Any] = EMPTY  # {"price": 19.9, "url": "https://…"}: kept, filtered, returned; never searched

    def __post_init__(self) -> None:
        if self.payload is EMPTY:
            return
        values = frozen(self.payload, "payload")
        if taken := sorted(AD_FIELD_NAMES & values.keys()):
            problem = f"the payload holds {taken[0]!r}, which is a field of its own"
            raise InputError(problem, cure=f"write Ad({taken[0]}=…)", field="payload")
        object.__setattr__(self, "payload", values)


AD_FIELD_NAMES = frozenset(each.name for each in fields(Ad))


@dataclass(frozen=True, slots=True)
class UserContext:
    """Who is asking, for targeting. A field left `None` is unknown.

    It filters nothing by the lists of an ad, but a targeting condition that asks about it is not true.

    Write values as people write them: `intently.catalog.checked_user` reads them and refuses those that it does not
    understand.
    """

    country: str | None = None  # "DE", "Germany"
    language: str | None = None  # "de", "en-US"
    device: str | None = None  # "mobile", "computers"
    time: datetime | None = None  # the user's local time; one with a zone needs `time_zone`
    audiences: frozenset[str] | set[str] | list[str] | tuple[str, ...] | None = None
    time_zone: str | None = None  # "Europe/Berlin"
    attributes: Mapping[str, Any] = EMPTY  # what else targeting may ask about: {"age": 34, "interests": ["跑步"]}


@dataclass(frozen=True, slots=True)
class Request:
    """A query and how to answer it. Raises `InputError` for every value that is not valid."""

    query: str
    k: int = 10
    user: UserContext | None = None
    channel: Channel = Channel.FUSED
    explain: bool = False  # with the reasons of each ad
    exclude: frozenset[str] = frozenset()  # ids of ads to leave out
    deadline_ms: float | None = None  # when the answer is of no more use; optional stages are left out for it
    filters: Expression | str | None = None  # 'price < 50 and category in ("shoes", "boots")'; kept as an Expression
    payload: tuple[str, ...] = ()  # columns to return with each ad: ("title", "url", "price"); "*": its whole payload
    max_per: Mapping[str, int] = EMPTY  # {"group_id": 1, "advertiser": 2}: at most so many ads of one value
    min_seq: int = 0  # number of a change that the answer has to show; 0: whatever is there
    min_relevance: float | None = None  # from 0 to 1: ads of a lower probability of relevance are left out

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
        if self.filters is not None:
            object.__setattr__(self, "filters", as_expression(self.filters))
        least = self.min_relevance
        if least is not None and (type(least) not in (int, float) or not 0 <= least <= 1):
            cure = "pass a probability from 0 to 1, or None"
            raise InputError(f"min_relevance is {least!r}", cure=cure, field="min_relevance")
        self._check_columns()

    def _check_columns(self) -> None:
        if isinstance(self.payload, str) or not hasattr(self.payload, "__iter__"):
            cure = 'pass a list of names, such as ("title", "price")'
            raise InputError(f"expected names, got {self.payload!r}"[:200], cure=cure, field="payload")
        names = tuple(dict.fromkeys(self.payload))
        if len(names) > MAX_COLUMNS or not all(isinstance(name, str) and name for name in names):
            told = f"expected at most {MAX_COLUMNS} names, got {names!r}"[:200]
            raise InputError(told, cure="pass names of columns", field="payload")
        object.__setattr__(self, "payload", names)
        if not isinstance(self.max_per, Mapping) or len(self.max_per) > MAX_COLUMNS:
            cure = 'pass a mapping, such as {"advertiser": 2}'
            raise InputError(f"expected caps, got {self.max_per!r}"[:200], cure=cure, field="max_per")
        for name, most in self.max_per.items():
            if not isinstance(name, str) or not name or type(most) is not int or most < 1:
                cure = 'write a name and a whole number of at least 1: {"advertiser": 2}'
                raise InputError(f"{name!r}: {most!r} is not a cap"[:200], cure=cure, field="max_per")
        object.__setattr__(self, "max_per", FrozenDict(self.max_per) if self.max_per else EMPTY)
        wait = self.deadline_ms
        if wait is not None and (type(wait) not in (int, float) or not 0 < wait < math.inf):
            raise InputError(f"deadline_ms is {wait!r}", cure="pass milliseconds above 0", field="deadline_ms")


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
class PutList:
    """A change: give a list that ads share these values, in the place of those that it had; none removes it.

    A list of negative keywords has a name of the user's, which ads have among their `negative_lists`. The names of
    `BlockList` are lists that count for all ads.
    """

    name: str
    values: tuple[str, ...]


class BlockList(StrEnum):
    """The lists that keep ads from being shown, whatever the ads say."""

    ADS = "blocked ads"  # ids
    ADVERTISERS = "blocked advertisers"
    CATEGORIES = "blocked categories"
    LABELS = "blocked labels"
    TERMS = "blocked terms"  # negative keywords of all ads


@dataclass(frozen=True, slots=True)
class Intention:
    """A short phrase naming what is wanted or offered.

    `log_prob` is the log of how much it counts among all that stand for one query: those that were decoded or are near,
    and those that the query has word by word.
    """

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
    """One returned ad: its rank from 1, its score (higher is better), and the reasons why it was found.

    `payload` holds the columns that the request asked for, None for a missing value. `relevance` is the probability
    that the ad is relevant to the query, None where the engine was not calibrated. Unlike scores, it can be compared
    across queries.
    """

    ad_id: str
    rank: int
    score: float
    reasons: tuple[Reason, ...] = ()
    payload: Mapping[str, Any] = EMPTY
    relevance: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why an ad is in the answer to a request, or why not.

    `stage` is "shown", or the first rule or stage that kept the ad out: "unknown", "excluded", "status", a `BlockList`,
    "country", "language", "device", "time", "audiences" or "targeting" (the ad does not want this user), "starts" or
    "ends", "negative keywords", "negative list" and its name, "filters", "relevance" (below `min_relevance`), "caps",
    "rank" (others came before it) or "channels" (no channel found it). `told` says it in a sentence, with the values.
    `relevance` is None where the engine was not calibrated, or where a rule kept the ad out.
    """

    ad_id: str
    stage: str
    told: str
    rank: int | None = None  # among all eligible ads, also beyond k; None if it has none
    score: float | None = None
    reasons: tuple[Reason, ...] = ()
    relevance: float | None = None


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
    degraded: tuple[Degraded, ...] = ()  # what was left out because of the deadline

    def __len__(self) -> int:
        return len(self.ads)

    def __iter__(self) -> Iterator[ScoredAd]:
        return iter(self.ads)

    @overload
    def __getitem__(self, at: int) -> ScoredAd: ...

    @overload
    def __getitem__(self, at: slice) -> tuple[ScoredAd, ...]: ...

    def __getitem__(self, at: int | slice) -> ScoredAd | tuple[ScoredAd, ...]:
        return self.ads[at]

    def to_frame(self, library: str | None = None) -> Any:
        """Return a data frame, a row an ad: the columns of `columns()`.

        `library` is "pandas" or "polars", by default the one that is installed, pandas first. Raises
        `MissingDependencyError` if it is not.
        """
        return to_frame(self.columns(), library)

    def _repr_html_(self) -> str:
        """Return the ranking as a notebook shows it."""
        return to_html(f"{self.query}: {len(self.ads)} ads", self.columns())

    def columns(self) -> dict[str, list[Any]]:
        """Return the ads as columns (k,): rank, ad_id, score, relevance if the engine tells it, and the payload's."""
        columns: dict[str, list[Any]] = {
            "rank": [ad.rank for ad in self.ads],
            "ad_id": [ad.ad_id for ad in self.ads],
            "score": [ad.score for ad in self.ads],
        }
        if any(ad.relevance is not None for ad in self.ads):
            columns["relevance"] = [ad.relevance for ad in self.ads]
        for name in dict.fromkeys(name for ad in self.ads for name in ad.payload):
            told = f"payload.{name}" if name in ("rank", "score", "relevance") else name
            columns[told] = [ad.payload.get(name) for ad in self.ads]
        return columns

    def to_dict(self) -> dict[str, Any]:
        """Return the ranking as plain values, ready for JSON."""
        return asdict(self)
