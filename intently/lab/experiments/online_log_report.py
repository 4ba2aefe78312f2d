"""The report of counterfactual estimates: what each system would have earned, and how far to believe it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from intently.arrays import Float64Array
from intently.lab.experiments.report import Cell, Row, Section, Table
from intently.market.estimates import FEWEST_EFFECTIVE, Estimate

_NORMAL = 1.96
_FIRST = ("IPS", "SNIPS", "clipped IPS", "doubly robust")
_PAGE = ("position-based IPS", "cascade IPS")


@dataclass(frozen=True)
class LogFacts:
    """What the estimates rest on."""

    num_answers: int
    num_queries: int
    num_positions: int
    events: Mapping[str, int]
    num_repeated: int
    num_orphans: int
    is_random: bool  # whether chance decided anything
    examination: tuple[float, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Estimated:
    """`found[system][reward]` are estimates; `logged[reward]` (N, K) what was earned, of rewards that are there."""

    found: Mapping[str, Mapping[str, tuple[Estimate, ...]]]
    logged: Mapping[str, Float64Array]


def sections(facts: LogFacts, estimated: Estimated) -> list[Section]:
    """Return the chapters of the report."""
    events = ", ".join(f"{number:,} {name}" for name, number in facts.events.items())
    told = [
        f"{facts.num_answers:,} answers to {facts.num_queries:,} queries, up to {facts.num_positions} ads; {events}."
    ]
    if facts.num_repeated or facts.num_orphans:
        told.append(
            f"Not counted: {facts.num_repeated:,} repeated events, and {facts.num_orphans:,} events of requests or ads "
            "that the log does not show."
        )
    if not facts.is_random:
        told.append(
            "No chance was involved in any answer (all propensities are 1). So IPS and its relatives know only the "
            "answers in which both systems agree, and their means do not speak of the others; position-based IPS rests "
            "on how much positions are looked at."
        )
    looks = ", ".join(f"{each:.2f}" for each in facts.examination)
    told += [f"Looks by position: {looks}.", *(f"Warning: {each}." for each in facts.warnings)]
    chapters = [Section("The log", told, _logged_table(estimated))]
    for reward in estimated.logged:
        for names, where in ((_FIRST, "first position"), (_PAGE, "whole page")):
            table = _table(estimated, reward, names)
            if table.rows:
                title = f"{reward[0].upper()}{reward[1:]} a thousand answers, {where}"
                chapters.append(Section(title, [], table))
    return chapters


def _logged_table(estimated: Estimated) -> Table:
    rows: list[Row] = []
    for reward, values in estimated.logged.items():
        rows.append([reward, *(_mean_cell(column) for column in (values[:, 0], values.sum(axis=1)))])
    return Table(["what was earned, a thousand answers", "first position", "whole page"], rows)


def _mean_cell(values: Float64Array) -> str:
    half = _NORMAL * float(values.std(ddof=1)) / math.sqrt(len(values))
    return f"{1000 * float(values.mean()):,.1f} ± {1000 * half:,.1f}"


def _table(estimated: Estimated, reward: str, names: tuple[str, ...]) -> Table:
    rows: list[Row] = []
    for system, found in estimated.found.items():
        for each in found[reward]:
            if each.estimator in names:
                half = each.interval[1] - each.value
                rows.append(
                    [
                        system,
                        each.estimator,
                        f"{1000 * each.value:,.1f} ± {1000 * half:,.1f}",
                        Cell(each.effective_sample_size, digits=0),
                        "; ".join(each.warnings) or "none",
                    ]
                )
    note = f"Fewer than {FEWEST_EFFECTIVE} effective answers say nothing. What is missing: the log never shows its ads."
    return Table(["system", "estimator", "estimate", "effective answers", "warnings"], rows, note)
