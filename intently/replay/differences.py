"""What differs between the answers of two engines, as records."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from intently.engine.engine import Engine
from intently.evaluation.report import Comparison, Report
from intently.types import Channel


@dataclass(frozen=True)
class Side:
    """One of the two that answer: an engine, the channel that is asked, and a name for people."""

    name: str
    engine: Engine
    channel: Channel = Channel.FUSED


@dataclass(frozen=True, slots=True)
class Answered:
    """A query, made `requests` times, and what both sides answered: ids of ads, best first, at most k."""

    query: str
    requests: int
    before: tuple[str, ...]
    after: tuple[str, ...]
    overlap: float  # shared ads over the longer answer's, 1 if both are empty
    rank_biased_overlap: float  # as well, but the first ranks count most, and so does their order
    value_before: float | None = None  # the judged metric; None for a query without a relevant ad
    value_after: float | None = None

    @property
    def gain(self) -> float | None:
        """The judged metric after, less that before."""
        if self.value_before is None or self.value_after is None:
            return None
        return self.value_after - self.value_before


@dataclass(frozen=True, slots=True)
class Group:
    """Some of the queries. Shares and means weigh each query by its requests, but for the gain."""

    name: str
    num_queries: int
    num_requests: int
    identical_share: float  # of requests that get the same ads in the same order
    mean_overlap: float
    mean_rank_biased_overlap: float
    unanswered_before: float  # share of requests
    unanswered_after: float
    num_judged: int  # queries
    mean_gain: float | None  # of the judged metric


@dataclass(frozen=True, slots=True)
class Reach:
    """How often the ads of an advertiser, or of a category, are among the first k: over all requests."""

    name: str
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class ShownAd:
    """An ad of an answer: why it is there, and if the other side does not show it, why not."""

    ad_id: str
    title: str
    reasons: tuple[str, ...]
    missing: str = ""  # why the other side does not show it; empty if it does
    grade: float | None = None  # what was judged of it


@dataclass(frozen=True, slots=True)
class Case:
    """A query side by side."""

    answered: Answered
    before: tuple[ShownAd, ...]
    after: tuple[ShownAd, ...]


@dataclass(frozen=True)
class Replay:
    """All that changed. `groups[kind]` are by language, words of the query, and vertical of what it was answered."""

    before: str
    after: str
    changed: tuple[str, ...]  # settings of retrieval that differ: "decode.num_beams: 8, then 16"
    k: int
    total: Group
    groups: Mapping[str, tuple[Group, ...]]
    advertisers: tuple[Reach, ...]  # that gained or lost most
    categories: tuple[Reach, ...]
    worst: tuple[Case, ...]  # that lost most; without judgements, those whose answers differ most
    best: tuple[Case, ...]  # that gained most; none without judgements
    metric: str  # the one that says what is worst and best
    judged: Report | None  # all metrics of both sides, with paired tests
    num_unknown: int = 0  # judged queries that the log does not have

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """The paired tests of what came after against what was before; none without judgements."""
        return self.judged.comparisons if self.judged else ()

    def to_dict(self) -> dict[str, Any]:
        """Return everything as values of JSON."""
        told = {name: value for name, value in vars(self).items() if name != "judged"}
        plain: dict[str, Any] = _plain(told)
        means = {name: run.means() for name, run in self.judged.runs.items()} if self.judged else {}
        return plain | {"metrics": means, "comparisons": [asdict(each) for each in self.comparisons]}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value
