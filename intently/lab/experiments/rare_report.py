"""What the RARE experiment found, as chapters of a report: tables 1, 3 and 5, the cache, the gain by fusing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from intently.evaluation.report import Report
from intently.lab.experiments.figures import Figure, line_chart, systems_chart, training_chart
from intently.lab.experiments.ground import Ground, first_ads, gains, seconds_of, some_of
from intently.lab.experiments.report import Case, Cell, Row, Section, Shown, Table, systems_table
from intently.lab.experiments.runner import SystemResult
from intently.text.analyze import Analyzer

NUM_CASES = 6
NUM_SHOWN = 5  # ads and intentions a case
_METRICS = ("Recall@10", "HR@500", "MAP")


@dataclass(frozen=True)
class Measured(Ground):
    """All that the report is made of: table 1's `systems`, table 3's `language_models` (on fewer queries), facts."""

    systems: Mapping[str, SystemResult]
    language_models: Mapping[str, SystemResult]
    facts: Mapping[str, Any]
    training: Mapping[str, Mapping[str, Any]]
    budget: str
    command: str


def sections(measured: Measured) -> list[Section]:
    """Return the chapters of the report, in order."""
    runs = {name: result.run for name, result in measured.systems.items()}
    report = measured.evaluated(runs)
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


def _table1(measured: Measured, report: Report) -> Section:
    systems = measured.systems
    fused = [name for name in systems if " + " in name]
    alone = [name for name in systems if name not in fused]
    ours = [name for name in alone if name.startswith("RARE") or name.endswith(" channel")]
    built = float(measured.facts["build"].get("costs", {}).get("seconds", 0.0))
    of_engine = [name for name in ours if name != "RARE, the baselines' budget"]
    costs = {name: seconds_of(result) + built * (name in of_engine) for name, result in systems.items()}
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
    pairs = (("BM25 + dense", "BM25 + dense + RARE"), ("lexical + dense", "lexical + dense + RARE"))
    return Section(
        "What RARE adds to lexical and dense retrieval",
        ("By reciprocal ranks. BM25 is bm25s, lexical this project's channel; dense is the same trained student.",),
        gains(report, pairs, _METRICS),
    )


def _table3(measured: Measured) -> Section:
    results = measured.language_models
    some = next(iter(results.values()))
    asked = set(some.run.query_ids) | set(measured.queries.ids[: len(_counts(some))])
    report = measured.evaluated({name: result.run for name, result in results.items()}, some_of(measured.qrels, asked))
    counts = {name: result.mean_identifiers for name, result in results.items()}
    table = systems_table(
        report,
        list(results),
        {
            "seconds a query": {
                name: Cell(seconds_of(result) / max(len(asked), 1), digits=2) for name, result in results.items()
            }
        },
        mean_identifiers=counts,
    )
    constrained, free = counts.get("RARE"), counts.get("RARE − constrained decoding")
    ratio = f"{constrained / free:.1f} times" if constrained and free else "no comparison of"
    return Section(
        "Knowledge injection and constrained decoding (RARE, table 3)",
        (
            "Here the customized language model itself answers, on the same index: with and without knowledge "
            "injection, held to the vocabulary or free with as many beams, of which those answers count that are in "
            "the vocabulary. The query's literal phrases are left out, except in the student's row: that is as online.",
            f"Constrained decoding gives {ratio} the intentions of free generation.",
        ),
        table,
    )


def _disjoint(measured: Measured, report: Report) -> Section:
    """Queries that share no stem with any relevant title: what no word match can find."""
    analyzer, qrels = Analyzer(), measured.qrels
    texts = dict(zip(measured.queries.ids, measured.queries.texts, strict=True))
    relevant: dict[str, list[str]] = {}
    for row in np.flatnonzero(qrels.values >= report.min_relevance).tolist():
        relevant.setdefault(qrels.query_ids[qrels.query_rows[row]], []).append(qrels.ad_ids[row].as_py())
    alone = set()
    for query_id, ads in relevant.items():
        if query_id not in texts:  # judged, but not asked
            continue
        terms = set(analyzer.terms(texts[query_id]))
        if not any(terms & set(analyzer.terms(measured.titles.get(ad_id, ""))) for ad_id in ads):
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
            shown = [
                Shown(measured.titles[ad_id], judged.get((query_id, ad_id)))
                for ad_id in first_ads(result.run, query_id, NUM_SHOWN)
            ]
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
            "too, which a cached query would get as well. “Compute saved” is that of the intention channel.",
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


def _counts(result: SystemResult) -> list[Any]:
    return list(result.facts.get("intentions") or result.run.query_ids)
