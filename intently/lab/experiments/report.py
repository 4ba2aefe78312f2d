"""What experiments found, for people: the chapters of a report and their tables, to be shown as HTML or Markdown.

Texts are plain: what stands between `backticks` is code, everything else is shown as it is written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from intently.errors import InputError
from intently.evaluation.report import Report
from intently.evaluation.significance import randomization_test
from intently.lab.experiments.figures import Figure

METRICS = ("ACR", "HR@500", "MAP", "Recall@10")


@dataclass(frozen=True, slots=True)
class Cell:
    """A value of a table: a number with so many `digits` after the point (a whole one has none), a text, or nothing."""

    value: float | str | None
    stars: str = ""
    best: bool = False
    digits: int = 4

    @property
    def text(self) -> str:
        """The value as it is read, without its marks."""
        if isinstance(self.value, str):
            return self.value
        if self.value is None or math.isnan(self.value):
            return "–"
        return f"{self.value:,}" if isinstance(self.value, int | np.integer) else f"{self.value:,.{self.digits}f}"


Row = Sequence[Cell | float | str | None]


@dataclass(frozen=True)
class Table:
    """Rows of cells or plain values under `columns`; a text instead of a row is a heading between rows.

    A column that holds no text, the first one apart, is one of numbers and stands to the right.
    """

    columns: Sequence[str]
    rows: Sequence[Row | str]
    note: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if not isinstance(row, str) and len(row) != len(self.columns):
                raise InputError(f"a row of {len(row)} cells in a table of {len(self.columns)} columns")

    def cells(self) -> list[list[Cell] | str]:
        """Return every row as cells."""
        return [
            row if isinstance(row, str) else [each if isinstance(each, Cell) else Cell(each) for each in row]
            for row in self.rows
        ]

    def is_numeric(self) -> list[bool]:
        """Return for every column whether it is one of numbers."""
        rows = [row for row in self.cells() if not isinstance(row, str)]
        return [i > 0 and not any(isinstance(row[i].value, str) for row in rows) for i in range(len(self.columns))]


@dataclass(frozen=True, slots=True)
class Shown:
    """An ad that a system showed; `relevant` is None where nobody judged it."""

    title: str
    relevant: bool | None = None

    @property
    def text(self) -> str:
        """The title, behind a mark of what the judgement was."""
        return {True: "✓ ", False: "✗ ", None: ""}[self.relevant] + self.title


@dataclass(frozen=True, slots=True)
class Case:
    """A query, and by system what it understood (its intentions) and which ads it put first."""

    query: str
    answers: Mapping[str, tuple[Sequence[str], Sequence[Shown]]]
    note: str = ""


@dataclass(frozen=True)
class Section:
    """A chapter of a report; `command` is what reproduces it."""

    title: str
    paragraphs: Sequence[str] = ()
    table: Table | None = None
    figures: Sequence[Figure] = ()
    cases: Sequence[Case] | None = None
    command: str | None = None


def systems_table(
    report: Report,
    names: Sequence[str] | Mapping[str, Sequence[str]],
    columns: Mapping[str, Mapping[str, Cell | float | str | None]] | None = None,
    *,
    against: str | None = None,
    metrics: Sequence[str] = METRICS,
    mean_identifiers: Mapping[str, float | None] | None = None,
) -> Table:
    """Return the systems `names` (by heading, as a mapping) with their metrics, the best value of each marked.

    Stars come from the paired test against `against`, by default the report's first run. `columns` are more columns,
    `columns[column][name]`; a system that one lacks has nothing there. Raises InputError for a run or a metric that the
    report does not have.
    """
    against = against or next(iter(report.runs))
    groups = names if isinstance(names, Mapping) else {"": names}
    listed = [name for group in groups.values() for name in group]
    for name in (*listed, against):
        missing = [metric for metric in metrics if name not in report.runs or metric not in report.runs[name].means()]
        if missing:
            raise InputError(f"the report has no {missing[0]} of {name!r}", cure="measure it first")
    means = {name: report.runs[name].means() for name in listed}
    p_values = _p_values(report, listed, against, metrics)
    best = {metric: _best([means[name][metric] for name in listed]) for metric in metrics}
    more: dict[str, Mapping[str, Any]] = dict(columns or {})
    if mean_identifiers is not None:
        counts = {name: None if (count := mean_identifiers.get(name)) is None else float(count) for name in listed}
        more = {"identifiers": {name: Cell(count, digits=1) for name, count in counts.items()}, **more}
    rows: list[Row | str] = []
    for heading, group in groups.items():
        rows += [heading] if heading else []
        for name in group:
            cells = [
                Cell(
                    means[name][metric],
                    _stars(p_values.get((name, metric))),
                    f"{means[name][metric]:.4f}" == best[metric],
                )
                for metric in metrics
            ]
            rows.append([name, *cells, *(values.get(name) for values in more.values())])
    note = (
        f"{len(report.query_ids):,} queries, {report.num_with_relevant:,} of them with an ad of relevance "
        f"{report.min_relevance:g} or more; the others count for ACR only. The best value of a column is bold."
    )
    if p_values:
        note += (
            f" * p < 0.05, ** p < 0.01 against {against}: paired randomization test, two-sided, 10,000 samples, "
            "not corrected for the number of comparisons."
        )
    if mean_identifiers is not None:
        note += " Identifiers: decoded for a query, on average."
    return Table(["system", *(metric.replace("Recall@", "R@") for metric in metrics), *more], rows, note)


def _p_values(
    report: Report, names: Sequence[str], against: str, metrics: Sequence[str]
) -> dict[tuple[str, str], float]:
    """Return p by (run, metric): the report's own where it compares with `against`, tested here otherwise."""
    known = {(c.run, c.metric): c.p_value for c in report.comparisons if c.first == against}
    first, found = report.runs[against].per_query, {}
    for name in dict.fromkeys(names):
        for metric in metrics:
            values = report.runs[name].per_query
            if (name, metric) in known:
                found[name, metric] = known[name, metric]
            elif name != against and metric in values and metric in first:
                differences = values[metric] - first[metric]
                p_value = randomization_test(differences[~np.isnan(differences)][:, None])
                found[name, metric] = float(p_value[0])
    return found


def _best(values: Sequence[float]) -> str | None:
    """Return how the highest value reads, None where all read alike."""
    texts = {f"{value:.4f}" for value in values if not math.isnan(value)}
    return max(texts, key=float) if len(texts) > 1 else None


def _stars(p_value: float | None) -> str:
    return "" if p_value is None or p_value >= 0.05 else "**" if p_value < 0.01 else "*"
