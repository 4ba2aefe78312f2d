"""Writes the Grafana dashboard: a panel for every metric of the service, made from the service's own list of them.

python operation/dashboard.py            # writes operation/grafana/intently.json
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prometheus_client.metrics_core import Metric

from intently.serve.metrics import Metrics
from intently.serve.service import GAUGES

PATH = Path(__file__).parent / "grafana" / "intently.json"
# What an operator looks at first; all other metrics follow in the order in which the service lists them.
_FIRST = ("intently_request_duration_seconds", "intently_shed", "intently_degraded", "intently_stage_duration_seconds")
_WIDTH, _HEIGHT, _PER_ROW = 8, 8, 3
_QUANTILES = (0.5, 0.95, 0.99)


def dashboard() -> dict[str, Any]:
    """Return the dashboard as Grafana's JSON."""
    metrics = sorted(_metrics(), key=lambda each: _FIRST.index(each.name) if each.name in _FIRST else len(_FIRST))
    panels = [_panel(at, metric) for at, metric in enumerate(metrics)]
    return {
        "uid": "intently",
        "title": "Intently",
        "schemaVersion": 41,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "panels": panels,
    }


def _metrics() -> Iterator[Metric]:
    metrics = Metrics()
    for name, (told, _) in GAUGES.items():
        metrics.gauge(name, told, float)
    yield from metrics.registry.collect()


def _panel(at: int, metric: Metric) -> dict[str, Any]:
    row, column = divmod(at, _PER_ROW)
    is_stat = metric.type == "info"
    return {
        "id": at + 1,
        "title": metric.documentation.rstrip("."),
        "type": "stat" if is_stat else "timeseries",
        "datasource": {"type": "prometheus", "uid": "prometheus"},
        "gridPos": {"x": column * _WIDTH, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": _unit(metric), "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + number), "expr": expression, "legendFormat": legend}
            for number, (expression, legend) in enumerate(_queries(metric))
        ],
    }


def _queries(metric: Metric) -> list[tuple[str, str]]:
    """Return the expressions of a metric, each with its legend: quantiles, rates, or values as they are."""
    labels = ", ".join(_labels(metric.name))
    if metric.type == "histogram":
        by = f"le, {labels}" if labels else "le"
        return [
            (
                f"histogram_quantile({quantile}, sum by ({by}) (rate({metric.name}_bucket[1m])))",
                " ".join([*(f"{{{{{label}}}}}" for label in _labels(metric.name)), f"p{quantile * 100:.0f}"]),
            )
            for quantile in _QUANTILES
        ]
    legend = " ".join(f"{{{{{label}}}}}" for label in _labels(metric.name))
    if metric.type == "counter":
        summed = f"sum by ({labels}) " if labels else "sum "
        return [(f"{summed}(rate({metric.name}_total[1m]))", legend)]
    if metric.type == "info":
        return [(f"{metric.name}_info", "{{generation}}")]
    return [(f"{metric.name}", "{{instance}}")]


def _labels(name: str) -> tuple[str, ...]:
    """Return by what a metric is drawn. Requests are drawn by route alone: codes would make too many lines."""
    own = {
        "intently_request_duration_seconds": ("route",),
        "intently_stage_duration_seconds": ("stage",),
        "intently_queue_wait_seconds": ("queue",),
        "intently_degraded": ("reason",),
        "intently_shed": ("reason",),
        "intently_changes": ("kind",),
        "intently_cache_requests": ("result",),
        "intently_zero_result": ("channel",),
    }
    return own.get(name, ())


def _unit(metric: Metric) -> str:
    if metric.name.endswith("_seconds"):
        return "s"
    return "ops" if metric.type == "counter" else "short"


if __name__ == "__main__":
    PATH.write_text(json.dumps(dashboard(), indent=1) + "\n", encoding="utf-8")
