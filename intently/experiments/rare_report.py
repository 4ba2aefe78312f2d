"""What the RARE experiment found, as chapters of a report: tables 1, 3 and 5, the cache, the gain by fusing."""

import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

import intently
from intently.catalog import Catalog, Judgements, Qrels, Queries, Run
from intently.evaluate.evaluation import evaluate_runs
from intently.evaluate.report import Report
from intently.evaluate.significance import bootstrap_interval, randomization_test
from intently.experiments.figures import Figure, line_chart, systems_chart, training_chart
from intently.experiments.report import Case, Cell, Row, Section, Shown, Table, systems_table
from intently.experiments.runner import SystemResult
from intently.text.analyze import Analyzer

NUM_CASES = 6
NUM_SHOWN = 5  # ads and intentions a case
_METRICS = ("Recall@10", "HR@500", "MAP")


@dataclass(frozen=True)
class Measured:
    """All that the report is made of: table 1's `systems`, table 3's `language_models` (on fewer queries), facts."""

    systems: Mapping[str, SystemResult]
    language_models: Mapping[str, SystemResult]
    qrels: Qrels
    clicks: Judgements
    catalog: Catalog
    queries: Queries
    facts: Mapping[str, Any]
    training: Mapping[str, Mapping[str, Any]]
    budget: str
    command: str
    min_relevance: float | None

    def header(self) -> dict[str, Any]:
        """Return what stands on top of the report: date, commit, machine, data."""
        return {
            "date": datetime.now(UTC).date().isoformat(),
            "commit": _commit(),
            "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, PyTorch {torch.__version__}",
            "ads": self.catalog.num_ads,
            "test queries": len(self.queries),
        }


def sections(measured: Measured) -> list[Section]:
    """Return the chapters of the report, in order."""
    runs = {name: result.run for name, result in measured.systems.items()}
    report = _evaluated(runs, measured)
    return [
        _table1(measured, report),
        _fusion(report),
        _table3(measured),
        _disjoint(measured, report),
        _cases(measured),
        _vocabulary(measured),
        _cache(measured),
        *_training(measured),
    ]


def _evaluated(runs: Mapping[str, Run], measured: Measured, qrels: Qrels | None = None) -> Report:
    least = measured.min_relevance  # the same for all tables, whatever the scale of some of the judgements
    return evaluate_runs(
        runs,
        qrels or measured.qrels,
        min_relevance=measured.qrels.default_min_relevance() if least is None else least,
        clicks=measured.clicks,
        ad_ids=measured.catalog.column("ad_id"),
    )


def _table1(measured: Measured, report: Report) -> Section:
    systems = measured.systems
    fused = [name for name in systems if " + " in name]
    alone = [name for name in systems if name not in fused]
    ours = [name for name in alone if name.startswith("RARE") or name.endswith(" path")]
    built = float(measured.facts["build"].get("costs", {}).get("seconds", 0.0))
    of_engine = [name for name in ours if name != "RARE, the baselines' budget"]
    costs = {name: _seconds(result) + built * (name in of_engine) for name, result in systems.items()}
    table = systems_table(
        report,
        {"baselines": [name for name in alone if name not in ours], "this project": ours, "fused": fused},
        {"minutes": {name: Cell(seconds / 60, digits=1) for name, seconds in costs.items()}},
        mean_identifiers={name: result.mean_identifiers for name, result in systems.items()},
    )
    return Section(
        "All systems (RARE, table 1)",
        (
            f"Every trained baseline got the same clicks and the same budget, {measured.budget}; “RARE, the baselines' "
            "budget” is RARE's student with no more than that, on the engine's index; “RARE” the student as the engine "
            "has it. LTRGR spends 100 steps more, on ranking. The identifiers of generative baselines lead to ads by "
            "their own scoring, intentions through RARE's index.",
            "Minutes are those of training and answering together; for the engine's rows, of the whole build too.",
            "DSI and TIGER say one ad an identifier, so they return no more ads than they have beams.",
        ),
        table,
        (systems_chart("rare-systems", report, alone, highlight=("RARE",)),),
        command=measured.command,
    )


def _fusion(report: Report) -> Section:
    rows: list[Row] = []
    for without, with_rare in (
        ("BM25 + dense", "BM25 + dense + RARE"),
        ("lexical + dense", "lexical + dense + RARE"),
    ):
        for metric in _METRICS:
            before, after = report.runs[without].per_query[metric], report.runs[with_rare].per_query[metric]
            differences = (after - before)[~np.isnan(before)]
            low, high = bootstrap_interval(differences)
            rows.append(
                [
                    with_rare,
                    metric,
                    Cell(float(np.nanmean(before))),
                    Cell(float(np.nanmean(after))),
                    Cell(float(differences.mean())),
                    f"{low:+.4f} … {high:+.4f}",
                    Cell(float(randomization_test(differences[:, None])[0])),
                ]
            )
    columns = ["fused", "metric", "without", "with RARE", "difference", "95% interval", "p"]
    return Section(
        "What RARE adds to lexical and dense retrieval",
        ("By reciprocal ranks. BM25 is bm25s, lexical this project's path; dense is the same trained student.",),
        Table(columns, rows, "Paired randomisation test, two-sided; bootstrap interval over queries."),
    )


def _table3(measured: Measured) -> Section:
    results = measured.language_models
    some = next(iter(results.values()))
    asked = set(some.run.query_ids) | set(measured.queries.ids[: len(_counts(some))])
    report = _evaluated({name: result.run for name, result in results.items()}, measured, _of(measured.qrels, asked))
    counts = {name: result.mean_identifiers for name, result in results.items()}
    table = systems_table(
        report,
        list(results),
        {
            "seconds a query": {
                name: Cell(_seconds(result) / max(len(asked), 1), digits=2) for name, result in results.items()
            }
        },
        mean_identifiers=counts,
    )
    constrained, free = counts.get("RARE"), counts.get("RARE − constrained decoding")
    ratio = f"{constrained / free:.1f} times" if constrained and free else "no comparison of"
    return Section(
        "Knowledge injection and constrained decoding (RARE, table 3)",
        (
            "Here the customised language model itself answers, on the same index: with and without knowledge "
            "injection, held to the vocabulary or free with as many beams, of which those answers count that are in "
            "the vocabulary. The query's literal phrases are left out, except in the student's row: that is as online.",
            f"Constrained decoding gives {ratio} the intentions of free generation.",
        ),
        table,
    )


def _disjoint(measured: Measured, report: Report) -> Section:
    """Queries that share no stem with any relevant title: what no word match can find."""
    analyzer, qrels = Analyzer(), measured.qrels
    titles = dict(zip(measured.catalog.strings("ad_id"), measured.catalog.strings("title"), strict=True))
    texts = dict(zip(measured.queries.ids, measured.queries.texts, strict=True))
    relevant: dict[str, list[str]] = {}
    for row in np.flatnonzero(qrels.values >= report.min_relevance).tolist():
        relevant.setdefault(qrels.query_ids[qrels.query_rows[row]], []).append(qrels.ad_ids[row].as_py())
    alone = set()
    for query_id, ads in relevant.items():
        if query_id not in texts:  # judged, but not asked
            continue
        terms = set(analyzer.terms(texts[query_id]))
        if not any(terms & set(analyzer.terms(titles.get(ad_id, ""))) for ad_id in ads):
            alone.add(query_id)
    at = np.array([query_id in alone for query_id in report.query_ids])
    rows: list[Row] = []
    for name, run in report.runs.items():
        values = [Cell(float(np.nanmean(run.per_query[metric][at])) if at.any() else None) for metric in _METRICS]
        rows.append([name, *values])
    return Section(
        "Queries that share no stem with any relevant title",
        (f"{int(at.sum())} of the {report.num_with_relevant} queries with a relevant ad.",),
        Table(["system", "R@10", "HR@500", "MAP"], rows),
    )


def _cases(measured: Measured) -> Section:
    """RARE's table 5: the first queries of evenly spaced places, by what each system understood and showed first."""
    lms = measured.language_models
    ids = list(measured.queries.ids[: len(_counts(next(iter(lms.values()))))])
    chosen = ids[:: max(1, len(ids) // NUM_CASES)][:NUM_CASES]
    titles = dict(zip(measured.catalog.strings("ad_id"), measured.catalog.strings("title"), strict=True))
    judged = {
        (measured.qrels.query_ids[row], ad_id): bool(good)
        for row, ad_id, good in zip(
            measured.qrels.query_rows.tolist(),
            measured.qrels.ad_ids.to_pylist(),
            measured.qrels.positives(measured.min_relevance).tolist(),
            strict=True,
        )
    }
    cases = []
    for query_id in chosen:
        at = ids.index(query_id)
        answers = {}
        for name, result in {**lms, "BM25": measured.systems["BM25"]}.items():
            told = result.facts.get("intentions") or []
            shown = [Shown(titles[ad_id], judged.get((query_id, ad_id))) for ad_id in _first(result.run, query_id)]
            answers[name] = (told[at][:NUM_SHOWN] if at < len(told) else [], shown)
        cases.append(Case(measured.queries.texts[at], answers))
    return Section("Cases side by side (RARE, table 5)", ("Chosen by place in the file, not by outcome.",), cases=cases)


def _vocabulary(measured: Measured) -> Section:
    build = {key: value for key, value in measured.facts["build"].items() if isinstance(value, int | float)}
    rows = [
        [name.replace("_", " "), Cell(value, digits=0 if isinstance(value, int) else 3)]
        for name, value in build.items()
    ]
    return Section("The vocabulary and the index", (), Table(["", "value"], rows))


def _cache(measured: Measured) -> Section:
    cache = measured.facts["cache"]
    rows: list[Any] = []
    for log, title in (("log", "the click log"), ("zipf", "a simulated log, Zipf exponent 1")):
        rows.append(title)
        rows += [
            [
                f"{row['share_of_queries']:.0%} of queries",
                Cell(row["size"], digits=0),
                Cell(row["hit_rate"]),
                Cell(row["compute_saved"]),
            ]
            for row in cache[log]
        ]
    figure = line_chart(
        "rare-cache",
        {
            title: [(row["share_of_queries"], row["hit_rate"]) for row in cache[log]]
            for log, title in (("log", "click log"), ("zipf", "Zipf log"))
        },
        x="share of distinct queries cached",
        y="hit rate",
        percent=True,
    )
    lms = measured.language_models
    teacher, student = lms["RARE"], lms["RARE's student"]
    return Section(
        "The head-query cache",
        (
            f"{cache['cached_queries']:,} queries are cached with the teacher's intentions. Table 3's row “RARE” "
            f"({teacher.mean_identifiers:.1f} intentions a query) is the teacher, “RARE's student” "
            f"({student.mean_identifiers:.1f}) what answers a miss; the latter's row has the query's literal phrases "
            "too, which a cached query would get as well. “Compute saved” is that of the intention path.",
        ),
        Table(["cache", "queries", "hit rate", "compute saved"], rows),
        (figure,),
    )


def _training(measured: Measured) -> list[Section]:
    lines: dict[str, list[tuple[float, float]]] = {}
    for name, stages in measured.training.items():
        for stage in ("knowledge", "format"):
            losses = stages.get(stage, {}).get("losses", [])
            points = [(step, held_out) for step, _, held_out in losses if not np.isnan(held_out)]  # nothing held out
            if len(points) > 1:
                lines[f"{name}, {stage}"] = points
    if not lines:
        return []
    figure: Figure = training_chart("rare-training", lines, y="held-out loss")
    return [Section("How the language models learned", (), figures=(figure,))]


def _of(qrels: Qrels, query_ids: set[str]) -> Qrels:
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


def _counts(result: SystemResult) -> list[Any]:
    return list(result.facts.get("intentions") or result.run.query_ids)


def _first(run: Run, query_id: str) -> list[str]:
    if query_id not in run.query_ids:
        return []
    at = np.flatnonzero(run.query_rows == run.query_ids.index(query_id))[:NUM_SHOWN]
    return [run.ad_ids[int(row)].as_py() for row in at]


def _seconds(result: SystemResult) -> float:
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
        return f"version {intently.__version__}"
    return found.stdout.strip()
