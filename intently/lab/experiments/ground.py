"""What systems are measured on, and what every experiment's report says of it."""

import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

import intently
from intently.catalog import Catalog, Judgements, Qrels, Queries, Run
from intently.evaluation.evaluation import evaluate_runs
from intently.evaluation.report import Report
from intently.evaluation.significance import bootstrap_interval, randomization_test
from intently.lab.experiments.report import Cell, Row, Table
from intently.lab.experiments.runner import SystemResult


@dataclass(frozen=True)
class Ground:
    """Test queries and their judgements, the catalog, and the clicks that came before."""

    qrels: Qrels
    clicks: Judgements
    catalog: Catalog
    queries: Queries
    min_relevance: float | None

    def evaluated(self, runs: Mapping[str, Run], qrels: Qrels | None = None) -> Report:
        """Measure runs, by default on all judgements; what counts as relevant is the same for all of them."""
        least = self.min_relevance
        return evaluate_runs(
            runs,
            qrels or self.qrels,
            min_relevance=self.qrels.default_min_relevance() if least is None else least,
            clicks=self.clicks,
            ad_ids=self.catalog.column("ad_id"),
            must_share=False,  # a poor system may find nothing that was judged, and its ids are right all the same
        )

    @cached_property
    def titles(self) -> dict[str, str]:
        """The ads' titles by their ids."""
        return dict(zip(self.catalog.strings("ad_id"), self.catalog.strings("title"), strict=True))

    def header(self) -> dict[str, Any]:
        """Return what stands on top of the report: date, commit, machine, data."""
        return {
            "date": datetime.now(UTC).date().isoformat(),
            "commit": _commit(),
            "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, PyTorch {torch.__version__}",
            "ads": self.catalog.num_ads,
            "test queries": len(self.queries),
        }


def gains(report: Report, pairs: Sequence[tuple[str, str]], metrics: Sequence[str]) -> Table:
    """Return what the second run of each pair gains over the first, with intervals and paired tests."""
    rows: list[Row] = []
    for without, with_it in pairs:
        for metric in metrics:
            before, after = report.runs[without].per_query[metric], report.runs[with_it].per_query[metric]
            differences = (after - before)[~np.isnan(before)]
            low, high = bootstrap_interval(differences)
            rows.append(
                [
                    with_it,
                    without,
                    metric,
                    Cell(float(np.nanmean(before))),
                    Cell(float(np.nanmean(after))),
                    Cell(float(differences.mean())),
                    f"{low:+.4f} … {high:+.4f}",
                    Cell(float(randomization_test(differences[:, None])[0])),
                ]
            )
    columns = ["system", "against", "metric", "before", "after", "difference", "95% interval", "p"]
    return Table(columns, rows, "Paired randomization test, two-sided; bootstrap interval over queries.")


def some_of(qrels: Qrels, query_ids: set[str]) -> Qrels:
    """Return the judgements of some queries."""
    kept = [row for row, query_id in enumerate(qrels.query_ids) if query_id in query_ids]
    number = {row: position for position, row in enumerate(kept)}
    pairs = [pair for pair, row in enumerate(qrels.query_rows.tolist()) if row in number]
    return Qrels(
        query_ids=tuple(qrels.query_ids[row] for row in kept),
        query_rows=np.array([number[int(qrels.query_rows[pair])] for pair in pairs], dtype=np.int64),
        ad_ids=qrels.ad_ids.take(pa.array(pairs, pa.int64())),
        values=qrels.values[pairs],
        kind=qrels.kind,
    )


def first_ads(run: Run, query_id: str, num: int) -> list[str]:
    """Return the ads that a run put first for a query, none for one that it does not have."""
    if query_id not in run.query_ids:
        return []
    at = np.flatnonzero(run.query_rows == run.query_ids.index(query_id))[:num]
    return [run.ad_ids[int(row)].as_py() for row in at]


def seconds_of(result: SystemResult) -> float:
    """Return how long a step took."""
    return float(result.facts.get("costs", {}).get("seconds", 0.0))


def _commit() -> str:
    """Return the checkout's commit, or the version where there is no checkout."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=Path(intently.__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return f"version {version('intently')}"
    return found.stdout.strip()
