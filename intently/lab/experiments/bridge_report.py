"""What the BRIDGE experiment found, as chapters of a report: tables 1 and 2, the fused engine, augmentation's cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from intently.catalog import Run
from intently.evaluation.click_groups import ClickGroup, ClickGroups
from intently.evaluation.report import Report
from intently.evaluation.significance import randomization_test
from intently.lab.experiments.figures import groups_chart, line_chart, systems_chart
from intently.lab.experiments.ground import Ground, gains, seconds_of
from intently.lab.experiments.report import Cell, Row, Section, Table, systems_table
from intently.lab.experiments.runner import SystemResult

_METRICS = ("Recall@10", "MRR", "NDCG@10", "HR@500", "MAP", "CWP@10", "tail coverage@10")
_MAIN = ("Recall@10", "HR@500", "MAP")
_SCHEDULES = {"BRIDGE": "interleaved", "BRIDGE, sequential": "sequential", "BRIDGE − interleaving": "concatenated"}
_PLAIN, _LONGER = "plain fine-tuning", "plain fine-tuning, twice as long"
_RANKS, _LEARNED = "engine, fused by reciprocal ranks", "engine, fused as learned"


@dataclass(frozen=True)
class Measured(Ground):
    """All that the report is made of: the `systems` of both tables, and facts of the build and the augmentation."""

    systems: Mapping[str, SystemResult]
    build: Mapping[str, Any]
    augmentation: Mapping[str, Any]
    budget: str
    training: str
    command: str


def sections(measured: Measured) -> list[Section]:
    """Return the chapters of the report, in order."""
    report = measured.evaluated({name: result.run for name, result in measured.systems.items()})
    return [
        _table1(measured, report),
        _parts(measured, report),
        _schedules(measured, report),
        _groups(measured, report),
        _engine(measured, report),
        _augmentation(measured),
    ]


def _kinds(measured: Measured) -> tuple[list[str], list[str], list[str]]:
    """Return the names of baselines, of BRIDGE and what lacks a part of it, and of the engine's rows."""
    names = list(measured.systems)
    bridge = [name for name in names if name.startswith("BRIDGE")]
    engine = [name for name in names if name.startswith("engine")]
    return [name for name in names if name not in bridge and name not in engine], bridge, engine


def _minutes(measured: Measured, names: Sequence[str]) -> dict[str, Cell]:
    return {name: Cell(seconds_of(measured.systems[name]) / 60, digits=1) for name in names}


def _table1(measured: Measured, report: Report) -> Section:
    baselines, _, engine = _kinds(measured)
    built = float(measured.build.get("costs", {}).get("seconds", 0.0))
    minutes = _minutes(measured, [*baselines, "BRIDGE"])
    minutes |= {name: Cell((seconds_of(measured.systems[name]) + built) / 60, digits=1) for name in engine}
    table = systems_table(
        report,
        {"baselines": baselines, "this project": ["BRIDGE", *engine]},
        {"minutes": minutes},
        against=_PLAIN,
        metrics=_METRICS,
    )
    return Section(
        "All systems (BRIDGE, table 1)",
        (
            f"Every system learned from the same clicks. Trained baselines got {measured.budget}, plain fine-tuning "
            f"and BRIDGE {measured.training}. “BRIDGE” has every part on, whether it helps here or not, and is "
            "searched exactly; the engine has the parts that its settings say. Queries held out to learn its fusion "
            "from taught nothing else, but the clicks on them are in its index of intentions.",
            "Plain fine-tuning is also half of BRIDGE's teacher. So that nobody takes longer training for better "
            "training, there is a row of plain fine-tuning with as many steps as the two have together.",
            "Minutes are those of training, reading the ads and answering, BRIDGE's without those of its teacher; for "
            "the engine's rows, of the whole build.",
        ),
        table,
        (
            systems_chart(
                "bridge-systems", report, [*baselines, "BRIDGE", *engine], metrics=_MAIN, highlight=("BRIDGE",)
            ),
        ),
        command=measured.command,
    )


def _parts(measured: Measured, report: Report) -> Section:
    _, bridge, _ = _kinds(measured)
    without = [name for name in bridge if name not in _SCHEDULES or name == "BRIDGE"]
    without += [name for name in bridge if name == "BRIDGE − interleaving"]
    better, worse = (_significant(report, without[1:], sign) for sign in (1, -1))
    told = (
        f"Significantly better without, by MAP (p < 0.05): {better}. Significantly worse without: {worse}. Of the "
        "others these queries tell nothing."
    )
    return Section(
        "What each part is worth (BRIDGE, table 1, ablations)",
        ("Each row is a training of its own, of the same length, with one thing changed.", told),
        systems_table(report, without, {"minutes": _minutes(measured, without)}, against="BRIDGE", metrics=_METRICS),
        (
            systems_chart(
                "bridge-parts", report, without, metrics=("Recall@10", "MAP"), highlight=("BRIDGE",), zoom=True
            ),
        ),
    )


def _significant(report: Report, names: Sequence[str], sign: int) -> str:
    """Return the parts without which MAP is better (sign 1) or worse (-1) than BRIDGE's, beyond chance."""
    found = []
    for name in names:
        differences = report.runs[name].per_query["MAP"] - report.runs["BRIDGE"].per_query["MAP"]
        differences = sign * differences[~np.isnan(differences)]
        if differences.mean() > 0 and randomization_test(differences[:, None])[0] < 0.05:
            found.append(name.removeprefix("BRIDGE − "))
    return ", ".join(found) or "nothing"


def _schedules(measured: Measured, report: Report) -> Section:
    names = [name for name in _SCHEDULES if name in measured.systems]
    columns: dict[str, dict[str, Cell | float | str | None]] = {}
    lines: dict[str, list[tuple[float, float]]] = {}
    for name in names:
        facts = measured.systems[name].facts
        for source, lost in facts.get("forgetting", {}).items():
            columns.setdefault(f"forgot {source}", {})[name] = Cell(lost)
        looks = facts.get("history", [])
        points = [(float(look["step"]), look["reciprocal_ranks"].get("clicks")) for look in looks]
        lines[_SCHEDULES[name]] = [(step, rank) for step, rank in points if rank is not None]
    drawn = {name: points for name, points in lines.items() if len(points) > 1}
    figures = (line_chart("bridge-schedules", drawn, x="step", y="MRR of held-out clicks"),) if drawn else ()
    return Section(
        "Training schedules (BRIDGE, table 2)",
        (
            "Interleaved: each batch of one source, drawn by how badly it is known. Sequential: source after source. "
            "Concatenated: batches of the shuffled union. All of the same length. A source is forgotten by as much as "
            "its held-out pairs' reciprocal rank ends below the best that it had.",
        ),
        systems_table(report, names, columns, against="BRIDGE", metrics=_MAIN),
        figures,
    )


def _groups(measured: Measured, report: Report) -> Section:
    """Recall in the first ten by how often the relevant ads were clicked."""
    baselines, _, engine = _kinds(measured)
    names = [*baselines, *(name for name in _SCHEDULES if name in measured.systems), *engine]
    groups = ClickGroups.build(measured.clicks, measured.catalog.column("ad_id").combine_chunks())
    found = {name: _recall_by_group(measured, report, measured.systems[name].run, groups) for name in names}
    rows: list[Row] = [[name, *(Cell(value) for value in values.values())] for name, values in found.items()]
    sizes = ", ".join(f"{size:,} {group.name.lower()}" for group, size in zip(ClickGroup, groups.sizes, strict=True))
    present = {name: {g: v for g, v in values.items() if v is not None} for name, values in found.items()}
    return Section(
        "Head, torso and tail (BRIDGE, table 2)",
        (
            f"The share of each click group's relevant ads that is among a query's first ten, over all queries "
            f"({sizes} ads; tail: fewer than {groups.tail_clicks:g} clicks, head: {groups.head_clicks:g} or more).",
        ),
        Table(["system", *(group.name.lower() for group in ClickGroup)], rows),
        (groups_chart("bridge-groups", present, metric="Recall@10", highlight=("BRIDGE",)),),
    )


def _recall_by_group(measured: Measured, report: Report, run: Run, groups: ClickGroups) -> dict[str, float | None]:
    qrels = measured.qrels
    relevant = np.flatnonzero(qrels.values >= report.min_relevance)
    group = groups.lookup(qrels.ad_ids.take(relevant))
    first: dict[str, set[str]] = {}
    for row, ad_id in zip(run.query_rows.tolist(), run.ad_ids.to_pylist(), strict=True):
        seen = first.setdefault(run.query_ids[row], set())
        if len(seen) < 10:
            seen.add(ad_id)
    hit = np.array(
        [
            ad_id in first.get(qrels.query_ids[row], ())
            for row, ad_id in zip(
                qrels.query_rows[relevant].tolist(), qrels.ad_ids.take(relevant).to_pylist(), strict=True
            )
        ]
    )
    return {
        each.name.lower(): float(hit[group == each].mean()) if (group == each).any() else None for each in ClickGroup
    }


def _engine(measured: Measured, report: Report) -> Section:
    pairs = [(_PLAIN, "BRIDGE"), (_LONGER, "BRIDGE"), ("BM25", _RANKS), ("engine, lexical", _RANKS)]
    if _LEARNED in measured.systems:
        pairs += [(_RANKS, _LEARNED)]
    return Section(
        "What the encoder, fusing, and learning to fuse add",
        ("The fusion learned from queries that nothing else had learned from.",),
        gains(report, pairs, _MAIN),
    )


def _augmentation(measured: Measured) -> Section:
    facts = measured.augmentation
    rows: list[Row] = [
        [what, Cell(facts[key], digits=0)]
        for what, key in (
            ("ads", "num_ads"),
            ("ads sent to the generative model", "num_allotted_ads"),
            ("texts written", "num_written"),
            ("queries kept", "num_queries"),
            ("duplicates removed", "num_duplicates"),
            ("ads with queries", "num_ads_with_queries"),
            ("keywords", "num_keywords"),
            ("ads with keywords", "num_ads_with_keywords"),
        )
    ]
    rows += [
        [f"refused: {rule.replace('_', ' ')}", Cell(number, digits=0)] for rule, number in facts["refused"].items()
    ]
    for kind in ("query", "keyword"):
        for what in ("model", "tuning"):
            cost = facts.get(f"{kind}_{what}") or {}
            rows += [
                [f"{kind} {what}: {name.replace('_', ' ')}", Cell(value, digits=0)]
                for name, value in cost.items()
                if isinstance(value, int | float)
            ]
    return Section("What augmentation took", (), Table(["", "number"], rows))
