"""What was measured, as data, table, JSON and Markdown."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field

import numpy as np
import numpy.typing as npt
from rich.console import Group
from rich.table import Table
from rich.text import Text

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class RunMeasures:
    """What one run reached: `per_query` values (Q,) by metric, NaN where a query is left out, and `overall` ones."""

    per_query: dict[str, Float64Array]
    overall: dict[str, float]

    def means(self) -> dict[str, float]:
        """Return the mean of every metric over the queries that count, then the overall ones."""
        counted = {metric: values[~np.isnan(values)] for metric, values in self.per_query.items()}
        means = {metric: float(values.mean()) if len(values) else math.nan for metric, values in counted.items()}
        return means | self.overall


@dataclass(frozen=True, slots=True)
class Join:
    """How much of one run the judgements speak of."""

    num_answered: int  # judged queries that the run answers
    num_unjudged_queries: int  # queries of the run that nobody judged; they are not measured
    num_returned: int  # ads that the run returns for judged queries
    num_judged: int  # of them, those that somebody judged for the query


@dataclass(frozen=True, slots=True)
class JudgedFacts:
    """What the measures over judged ads rest on, the same for all runs."""

    num_pairs: int  # of ads judged for the same query, with different grades
    num_queries_with_pairs: int
    num_wide_pairs: int  # those whose grades differ by 1 or more
    num_queries_with_wide_pairs: int
    num_relevant: int  # pairs of a query and a relevant ad
    num_relevant_in_train: int | None = None  # of them, those whose ad has a training judgement

    def note(self) -> str:
        """Return it as sentences."""
        note = (
            f" {self.num_pairs:,} pairs of judged ads differ in grade, in {self.num_queries_with_pairs:,} queries; "
            f"{self.num_wide_pairs:,} of them by 1 or more, in {self.num_queries_with_wide_pairs:,}."
        )
        if self.num_relevant_in_train is not None:
            note += f" {self.num_relevant_in_train:,} of {self.num_relevant:,} relevant ads have a training judgement."
        return note


@dataclass(frozen=True, slots=True)
class Comparison:
    """One run against the first by one metric, query by query.

    `difference` is the mean of run − first, `low` and `high` its 95% bootstrap interval, `p_value` two-sided from the
    paired randomization test.
    """

    first: str
    run: str
    metric: str
    difference: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """The measures of all runs, by name, on the same Q queries, and every run's comparison with the first."""

    query_ids: tuple[str, ...]  # (Q,), in the order of the per-query values
    num_with_relevant: int  # of them; the others count for ACR only
    min_relevance: float
    runs: dict[str, RunMeasures]
    comparisons: tuple[Comparison, ...]
    group_sizes: npt.NDArray[np.int64] | None  # (3,) head, torso, tail ads, when clicks were given
    joins: dict[str, Join] = field(default_factory=dict)  # by name of the run
    judged_facts: JudgedFacts | None = None  # when measured over judged ads too

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of all metrics, in order."""
        return tuple(next(iter(self.runs.values())).means())

    def note(self) -> str:
        """Return in a few sentences what the numbers rest on."""
        note = (
            f"{len(self.query_ids):,} queries, {self.num_with_relevant:,} of them with an ad of relevance "
            f"{self.min_relevance:g} or more; the others count for ACR "
            f"{'and pair accuracy ' if self.judged_facts else ''}only."
        )
        for name, join in self.joins.items():
            note += (
                f" {name} answers {join.num_answered:,} of them"
                + (f" and {join.num_unjudged_queries:,} that nobody judged" if join.num_unjudged_queries else "")
                + f"; {join.num_judged:,} of {join.num_returned:,} returned ads are judged."
            )
        if self.judged_facts is not None:
            note += self.judged_facts.note()
        if len(self.runs) > 1:
            note += f" * p < 0.05, ** p < 0.01 against {next(iter(self.runs))}: paired randomization test, two-sided."
        if self.group_sizes is not None:
            head, torso, tail = self.group_sizes
            note += f" By clicks: {head:,} head, {torso:,} torso, {tail:,} tail ads."
        return note

    def table(self) -> Group:
        """Return the means as a table for the terminal, one run a column: four fit into 80 characters; and the note."""
        table = Table()
        header, *rows = zip(*self._cells(), strict=True)
        table.add_column(Text("metric"), no_wrap=True)
        for name in header[1:]:
            table.add_column(Text(name), justify="right", min_width=8, overflow="fold")
        for row in rows:
            table.add_row(*map(Text, row))  # as Text, because a name may look like markup
        return Group(table, Text(self.note()))

    def markdown(self) -> str:
        """Return the means, and the comparisons if there are any, as Markdown tables with a note."""
        text = _markdown_table(self._cells()) + f"\n{_escape(self.note())}\n"
        if self.comparisons:
            rows = [
                [c.run, c.metric, f"{c.difference:+.4f}", f"[{c.low:+.4f}, {c.high:+.4f}]", f"{c.p_value:.4f}"]
                for c in self.comparisons
            ]
            header = ["run", "metric", f"difference to {self.comparisons[0].first}", "95% interval", "p"]
            text += "\n" + _markdown_table([header, *rows])
        return text

    def to_json(self) -> str:
        """Return all of the report as JSON, with null for the queries a metric leaves out."""
        runs = {
            name: {
                "means": {metric: _number(value) for metric, value in run.means().items()},
                "per_query": {metric: [_number(value) for value in values] for metric, values in run.per_query.items()},
            }
            for name, run in self.runs.items()
        }
        report = {
            "min_relevance": self.min_relevance,
            "num_queries": len(self.query_ids),
            "num_with_relevant": self.num_with_relevant,
            "group_sizes": None if self.group_sizes is None else self.group_sizes.tolist(),
            "joins": {name: asdict(join) for name, join in self.joins.items()},
            "judged_facts": None if self.judged_facts is None else asdict(self.judged_facts),
            "query_ids": self.query_ids,
            "runs": runs,
            "comparisons": [asdict(comparison) for comparison in self.comparisons],
        }
        return json.dumps(report, ensure_ascii=False, allow_nan=False, indent=2)

    def _cells(self) -> list[list[str]]:
        p_values = {(c.run, c.metric): c.p_value for c in self.comparisons}
        rows = [["run", *self.metrics]]
        for name, run in self.runs.items():
            cells = [
                f"{value:.4f}{_stars(p_values.get((name, metric)))}" if not math.isnan(value) else "–"
                for metric, value in run.means().items()
            ]
            rows.append([name, *cells])
        return rows


def _stars(p_value: float | None) -> str:
    if p_value is None or p_value >= 0.05:
        return ""
    return "**" if p_value < 0.01 else "*"


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _escape(text: str) -> str:
    return text.replace("|", r"\|").replace("*", r"\*")


def _markdown_table(rows: list[list[str]]) -> str:
    escaped = [[_escape(cell) for cell in row] for row in rows]
    escaped.insert(1, ["---"] + ["---:"] * (len(rows[0]) - 1))
    return "".join(f"| {' | '.join(row)} |\n" for row in escaped)
