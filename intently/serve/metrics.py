"""What the service counts and measures, for Prometheus."""

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    disable_created_metrics,
    generate_latest,
)  # fmt: skip
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from intently.types import Ranking

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.045, 0.06, 0.09, 0.15, 0.3, 0.6, 1.2, 2.5, 5.0, 10.0)


class Metrics:
    """All metrics of one service, in a registry of their own."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # they would double the number of series
        self.registry = registry = CollectorRegistry()
        self.requests = Histogram(
            "intently_request_duration_seconds", "Time from a request's head to the end of its answer.",
            ("route", "code"), registry=registry, buckets=_SECONDS,
        )  # fmt: skip
        self.stages = Histogram(
            "intently_stage_duration_seconds", "Time of a stage of one query.", ("stage",), registry=registry,
            buckets=_SECONDS,
        )  # fmt: skip
        self.queue_wait = Histogram(
            "intently_queue_wait_seconds", "Time that work waited for a thread.", ("queue",), registry=registry,
            buckets=_SECONDS,
        )  # fmt: skip
        self.batch_size = Histogram(
            "intently_batch_size_queries", "Queries that were answered together.", registry=registry,
            buckets=(1, 2, 4, 8, 16, 32, 64, 128),
        )  # fmt: skip
        self.loop_lag = Histogram(
            "intently_event_loop_lag_seconds", "How late the event loop came back.", registry=registry,
            buckets=_SECONDS,
        )  # fmt: skip
        self.degraded = Counter(
            "intently_degraded_total", "Stages that deadlines left out.", ("reason",), registry=registry
        )
        self.shed = Counter("intently_shed_total", "Requests refused before any work.", ("reason",), registry=registry)
        self.joined = Counter(
            "intently_joined_requests_total", "Queries answered by an equal one that was under way.", registry=registry
        )
        self.changes = Counter("intently_changes_total", "Changes of ads applied.", ("kind",), registry=registry)
        self.cache = Counter(
            "intently_cache_requests_total", "Queries by where their intentions came from.", ("result",),
            registry=registry,
        )  # fmt: skip
        self.runtime_cache = Counter(
            "intently_runtime_cache_queries_total", "Queries by what became of them at the runtime cache.", ("result",),
            registry=registry,
        )  # fmt: skip
        self.empty = Counter(
            "intently_zero_result_total", "Queries answered without any ad.", ("channel",), registry=registry
        )
        self.unlogged = Counter(
            "intently_unlogged_answers_total", "Answers whose record could not be written.", registry=registry
        )
        self.in_flight = Gauge("intently_inflight_requests", "Requests that are being answered.", registry=registry)
        self.generation = Info("intently_generation", "The generation that answers.", registry=registry)
        self.refresh_failures = Counter(
            "intently_refresh_failures_total", "Times that a generation or a file of keys could not be taken over.",
            registry=registry,
        )  # fmt: skip

    def gauge(self, name: str, told: str, value: Callable[[], float]) -> None:
        """Add a gauge whose value is asked for when it is read."""
        Gauge(name, told, registry=self.registry).set_function(value)

    def answered(self, ranking: Ranking, channel: str) -> None:
        """Count one answer and the time of its stages."""
        for stage, spent_ms in ranking.timings_ms.items():
            self.stages.labels(stage).observe(spent_ms / 1000)
        for reason in ranking.degraded:
            self.degraded.labels(reason).inc()
        self.cache.labels("hit" if ranking.cached else "miss").inc()
        if not ranking.ads:
            self.empty.labels(channel).inc()

    def exposition(self) -> bytes:
        """Return all metrics as Prometheus reads them."""
        return generate_latest(self.registry)
