"""The last minutes of the service's metrics, for the live page."""

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from time import time

from prometheus_client.samples import Sample

from intently.serve.metrics import Metrics

EVERY_S = 2.0
_KEPT = 300  # samples: ten minutes
_ROUTE = "POST /v1/retrieve"


@dataclass(frozen=True)
class Figures:
    """Counters and gauges at one moment. `buckets` are cumulative counts of answers to queries by seconds."""

    at: float
    seq: float
    queries: float
    in_flight: float
    queued: float
    pending: float
    hits: float
    lookups: float
    degraded: float
    shed: float
    failed: float
    changes: float
    buckets: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Interval:
    """What happened between two moments; None where nothing did."""

    queries_per_s: float
    p50_ms: float | None
    p95_ms: float | None
    cache_share: float | None
    degraded_share: float | None
    refused_per_s: float
    changes_per_s: float
    in_flight: float
    queued: float


@dataclass
class History:
    """Samples of the metrics, to be taken every `EVERY_S` seconds."""

    metrics: Metrics
    clock: Callable[[], float] = time
    samples: deque[Figures] = field(default_factory=lambda: deque(maxlen=_KEPT))

    def take(self) -> Figures:
        """Take one sample. Cost: a millisecond."""
        told = Figures(
            self.clock(),
            self._sum("intently_visible_seq"),
            self._sum("intently_batch_size_queries", "intently_batch_size_queries_sum"),
            self._sum("intently_inflight_requests"),
            self._sum("intently_queued_queries"),
            self._sum("intently_pending_changes"),
            self._sum("intently_cache_requests", result="hit"),
            self._sum("intently_cache_requests"),
            self._sum("intently_degraded"),
            self._sum("intently_shed"),
            sum(
                each.value
                for each in self._samples("intently_request_duration_seconds")
                if each.name.endswith("_count") and each.labels["code"].startswith("5") and each.labels["code"] != "503"
            ),
            self._sum("intently_changes"),
            self._buckets(),
        )
        self.samples.append(told)
        return told

    def intervals(self) -> tuple[Interval, ...]:
        """Return what happened between the samples, oldest first."""
        return tuple(_between(before, after) for before, after in pairwise(self.samples))

    def _samples(self, family: str) -> Iterator[Sample]:
        for each in self.metrics.registry.collect():
            if each.name == family:
                yield from each.samples

    def _sum(self, family: str, name: str = "", **labels: str) -> float:
        return sum(
            each.value
            for each in self._samples(family)
            if (not name or each.name == name) and labels.items() <= each.labels.items()
        )

    def _buckets(self) -> tuple[tuple[float, float], ...]:
        counts: dict[float, float] = {}
        for each in self._samples("intently_request_duration_seconds"):
            if each.name.endswith("_bucket") and each.labels["route"] == _ROUTE:
                bound = float(each.labels["le"])
                counts[bound] = counts.get(bound, 0.0) + each.value
        return tuple(sorted(counts.items()))


def _between(before: Figures, after: Figures) -> Interval:
    seconds = max(after.at - before.at, 1e-9)
    earlier = dict(before.buckets)
    buckets = [(bound, count - earlier.get(bound, 0.0)) for bound, count in after.buckets]
    queries = after.queries - before.queries
    lookups = after.lookups - before.lookups
    return Interval(
        queries / seconds,
        quantile_ms(buckets, 0.5),
        quantile_ms(buckets, 0.95),
        (after.hits - before.hits) / lookups if lookups else None,
        (after.degraded - before.degraded) / queries if queries else None,
        (after.shed - before.shed) / seconds,
        (after.changes - before.changes) / seconds,
        after.in_flight,
        after.queued,
    )


def quantile_ms(buckets: Sequence[tuple[float, float]], share: float) -> float | None:
    """Return a quantile in milliseconds from cumulative buckets, evened out within one; None if they are empty."""
    total = buckets[-1][1] if buckets else 0.0
    if total <= 0:
        return None
    low, below = 0.0, 0.0
    for bound, count in buckets:
        if count >= share * total:
            if math.isinf(bound):
                return low * 1000
            inside = (share * total - below) / (count - below) if count > below else 1.0
            return (low + (bound - low) * inside) * 1000
        low, below = bound, count
    return low * 1000
