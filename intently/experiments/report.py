"""What experiments found, for people: one HTML file that needs nothing else, and the same tables as Markdown.

Texts are plain: what stands between `backticks` is code, everything else is shown as it is written.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from intently.artifact import write_atomically
from intently.errors import InputError
from intently.evaluate.report import Report
from intently.evaluate.significance import randomization_test
from intently.experiments.figures import Figure

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
            f" * p < 0.05, ** p < 0.01 against {against}: paired randomisation test, two-sided, 10,000 samples, "
            "not corrected for the number of comparisons."
        )
    if mean_identifiers is not None:
        note += " Identifiers: decoded for a query, on average."
    return Table(["system", *(metric.replace("Recall@", "R@") for metric in metrics), *more], rows, note)


def write_html(path: Path, title: str, sections: Sequence[Section], facts: Mapping[str, Any]) -> None:
    """Write a report as one HTML file: no scripts, nothing fetched; `facts` (machine, date, commit …) stand on top."""
    entries = "".join(f'<li><a href="#s{i}">{_html(each.title)}</a></li>' for i, each in enumerate(sections, start=1))
    known = "".join(f"<div><dt>{_html(key)}</dt><dd>{_html(_fact(facts[key]))}</dd></div>" for key in facts)
    write_atomically(
        path,
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<header>\n<h1>{_html(title)}</h1>\n{f'<dl>{known}</dl>' if known else ''}\n</header>\n"
        f'<nav aria-label="Contents"><ol>{entries}</ol></nav>\n<main>\n'
        + "\n".join(_html_section(i, section) for i, section in enumerate(sections, start=1))
        + "\n</main>\n</body>\n</html>\n",
    )


def publish(
    path: Path, title: str, sections: Sequence[Section], facts: Mapping[str, Any], results: Path | None, marker: str
) -> Path:
    """Write a report as HTML to `path`, and into the block `marker` of the Markdown file `results`, if there is one.

    The figures of the latter go into the folder `figures` beside it. Returns `path`.
    """
    write_html(path, title, sections, facts)
    if results:
        figures = results.parent / "figures"
        write_figures(figures, sections)
        replace_block(results, marker, markdown(sections, level=3, figures=figures.name))
    return path


def markdown(sections: Sequence[Section], *, level: int = 2, figures: str | None = None) -> str:
    """Return the sections as Markdown, with headings of `level`.

    Figures are shown from the folder `figures` beside the file, where `write_figures` put them; without one they are
    left out.
    """
    blocks: list[str] = []
    for section in sections:
        blocks.append(f"{'#' * level} {_md(section.title)}")
        blocks += [_md(paragraph) for paragraph in section.paragraphs]
        if section.command:
            blocks.append(f"```sh\n{section.command}\n```")
        if section.table:
            blocks += [_md_table(section.table), *([_md(section.table.note)] if section.table.note else [])]
        if figures is not None:
            for figure in section.figures:
                alt = _md(figure.alt).replace("[", r"\[").replace("]", r"\]")
                blocks += [f"![{alt}]({figures}/{figure.name}.svg)", *([_md(figure.caption)] if figure.caption else [])]
        for case in section.cases or ():
            rows: list[Row | str] = [
                [system, " · ".join(intentions), *_shown(ads)] for system, (intentions, ads) in case.answers.items()
            ]
            most = max((len(row) for row in rows), default=2) - 2
            header = ["system", "intentions", *map(str, range(1, most + 1))]
            table = Table(header, [[*row, *[""] * (len(header) - len(row))] for row in rows])
            blocks += [f"**{_md(case.query)}**", _md_table(table), *([_md(case.note)] if case.note else [])]
    return "\n\n".join(blocks) + "\n"


def write_figures(directory: Path, sections: Sequence[Section]) -> None:
    """Write the figures of the sections as SVG files, for Markdown. Raises InputError when two have the same name."""
    directory.mkdir(parents=True, exist_ok=True)
    figures = [figure for section in sections for figure in section.figures]
    if len({figure.name for figure in figures}) < len(figures):
        raise InputError("two figures have the same name", cure="name them differently")
    for figure in figures:
        write_atomically(directory / f"{figure.name}.svg", figure.svg + "\n")


def replace_block(path: Path, marker: str, text: str) -> None:
    """Put `text` between `<!-- marker -->` and `<!-- /marker -->` of a file, in place of what is there.

    Raises InputError unless each of the two marks is there once, in this order, and `text` has neither.
    """
    opening, closing = f"<!-- {marker} -->", f"<!-- /{marker} -->"
    if not path.is_file():
        raise InputError("no such file", cure="check the path", path=path)
    old = path.read_text(encoding="utf-8")
    if old.count(opening) != 1 or old.count(closing) != 1 or old.index(opening) > old.index(closing):
        cure = f"write {opening} and {closing} once each, where the text belongs"
        raise InputError(f"does not have one block '{marker}'", cure=cure, path=path)
    if opening in text or closing in text:
        raise InputError(f"the text for block '{marker}' has its marks inside", cure="leave them out", path=path)
    before, after = old.split(opening)[0], old.split(closing)[1]
    new = f"{before}{opening}\n\n{text.strip()}\n\n{closing}{after}"
    if new != old:
        write_atomically(path, new)


def _html_section(number: int, section: Section) -> str:
    parts = [f'<section id="s{number}">\n<h2>{_html(section.title)}</h2>']
    parts += [f"<p>{_html(paragraph)}</p>" for paragraph in section.paragraphs]
    if section.table:
        parts.append(_html_table(section.table, section.title))
    for figure in section.figures:
        caption = f"<figcaption>{_html(figure.caption)}</figcaption>" if figure.caption else ""
        parts.append(f'<figure><div class="wide">{figure.svg}</div>{caption}</figure>')
    parts += [_html_case(case) for case in section.cases or ()]
    if section.command:
        parts.append(f'<pre aria-label="Command that reproduces this"><code>{escape(section.command)}</code></pre>')
    return "\n".join([*parts, "</section>"])


def _html_table(table: Table, title: str) -> str:
    kinds = [' class="n"' if numeric else "" for numeric in table.is_numeric()]
    head = "".join(f'<th scope="col"{kind}>{_html(name)}</th>' for name, kind in zip(table.columns, kinds, strict=True))
    body = []
    for row in table.cells():
        if isinstance(row, str):
            body.append(f'<tr class="group"><th scope="rowgroup" colspan="{len(kinds)}">{_html(row)}</th></tr>')
            continue
        cells = [f'<th scope="row">{_html_cell(row[0])}</th>']
        cells += [f"<td{kind}>{_html_cell(cell)}</td>" for cell, kind in zip(row[1:], kinds[1:], strict=True)]
        body.append(f"<tr>{''.join(cells)}</tr>")
    note = f'<p class="note">{_html(table.note)}</p>' if table.note else ""
    # It may be wider than the screen: then it can be scrolled, by keyboard too.
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="Table: {escape(title)}"><table>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n" + "\n".join(body) + f"\n</tbody></table></div>\n{note}"
    )


def _html_cell(cell: Cell) -> str:
    value = f"<strong>{_html(cell.text)}</strong>" if cell.best else _html(cell.text)
    return value + (f"<sup>{cell.stars}</sup>" if cell.stars else "")


def _html_case(case: Case) -> str:
    systems = []
    for system, (intentions, ads) in case.answers.items():
        understood = "".join(f"<li>{_html(text)}</li>" for text in intentions)
        shown = "".join(f"<li>{_html(ad)}</li>" for ad in _shown(ads))
        systems.append(
            f"<div><h4>{_html(system)}</h4>"
            + (f'<ul class="said" aria-label="Intentions">{understood}</ul>' if intentions else "")
            + (f"<ol>{shown}</ol></div>" if ads else '<p class="note">no ads</p></div>')
        )
    note = f'<p class="note">{_html(case.note)}</p>' if case.note else ""
    return f'<article><h3>{_html(case.query)}</h3><div class="side">{"".join(systems)}</div>{note}</article>'


def _shown(ads: Sequence[Shown]) -> list[str]:
    marks = {True: "✓ ", False: "✗ ", None: ""}
    return [marks[ad.relevant] + ad.title for ad in ads]


def _fact(value: Any) -> str:
    return Cell(value).text if value is None or isinstance(value, int | float) else str(value)


def _html(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _md(text: str) -> str:
    """Return a text on one line, so that Markdown shows it as it is; code stays code."""
    parts = re.split(r"(`[^`]+`)", " ".join(text.split()))
    # A pipe would end a cell even within code.
    line = "".join(
        part.replace("|", r"\|") if i % 2 else re.sub(r"([\\|*_`\[\]]|<(?=[a-zA-Z/!?])|&(?=#?\w+;))", r"\\\1", part)
        for i, part in enumerate(parts)
    )
    return re.sub(r"^(\d*)([#>+.)-])(?![\d\w])", r"\1\\\2", line)  # neither a heading nor a list


def _md_table(table: Table) -> str:
    lines = [[_md(name) for name in table.columns], ["---:" if numeric else "---" for numeric in table.is_numeric()]]
    for row in table.cells():
        if isinstance(row, str):
            lines.append([f"*{_md(row)}*", *[""] * (len(table.columns) - 1)])
        else:
            lines.append(
                [
                    f"**{_md(cell.text)}**" * cell.best + _md(cell.text) * (not cell.best) + _md(cell.stars)
                    for cell in row
                ]
            )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


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


_STYLE = """
:root { color-scheme: light dark; --ink: #1b2430; --dim: #5b6675; --rule: #d9dee5; --soft: #f4f6f8; --link: #0b62a8;
  --paper: #fff }
@media (prefers-color-scheme: dark) { :root { --ink: #dfe5ec; --dim: #97a3b2; --rule: #303844; --soft: #1a2027;
  --link: #6db6f2; --paper: #11151a } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 54rem; padding: 1.5rem 1rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, "Noto Sans", "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif;
  overflow-wrap: break-word }
h1 { font-size: 1.8rem; line-height: 1.2; margin: .5rem 0 1rem; text-wrap: balance }
h2 { font-size: 1.3rem; margin: 3rem 0 .75rem; padding-top: .75rem; border-top: 1px solid var(--rule) }
h3 { font-size: 1.05rem; margin: 0 0 .75rem }
h4 { font-size: .85rem; margin: 0 0 .4rem; color: var(--dim) }
a { color: var(--link) }
dl { display: flex; flex-wrap: wrap; gap: .4rem 1.5rem; margin: 0; font-size: .85rem }
dt { color: var(--dim) } dd { margin: 0 }
nav { margin: 1.5rem 0; padding: .75rem 1rem; background: var(--soft); border-radius: .5rem; font-size: .9rem }
nav ol { margin: 0; padding-left: 1.3rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; min-width: 100% }
th, td { padding: .3rem .6rem; text-align: left; vertical-align: baseline; border-bottom: 1px solid var(--rule) }
thead th { border-bottom: 2px solid var(--dim); white-space: nowrap }
tbody th { font-weight: 400 }
.group th { padding-top: .9rem; color: var(--dim); font-size: .8rem; letter-spacing: .03em }
.n { text-align: right; white-space: nowrap; padding-right: 1.1rem; position: relative }
.n sup { position: absolute; line-height: 1.2; font-size: .8em }
.note, figcaption { font-size: .85rem; color: var(--dim) }
figure { margin: 1.75rem 0 }
figure svg { display: block; width: 100%; max-width: 46rem; min-width: 30rem; height: auto; color: var(--ink);
  font-family: inherit }
code { font: .9em ui-monospace, monospace; background: var(--soft); padding: .1em .25em; border-radius: .2em }
pre { background: var(--soft); padding: .75rem 1rem; border-radius: .5rem; overflow-x: auto }
pre code { padding: 0; background: none }
article { margin: 1.25rem 0; padding: 1rem; border: 1px solid var(--rule); border-radius: .5rem; break-inside: avoid }
.side { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(13rem, 100%), 1fr)); gap: 1rem 1.5rem;
  font-size: .88rem }
.side ol { margin: 0; padding-left: 1.4rem }
.said { list-style: none; display: flex; flex-wrap: wrap; gap: .3rem; margin: 0 0 .6rem; padding: 0 }
.said li { background: var(--soft); border-radius: 1rem; padding: .05rem .55rem; font-size: .8rem }
@media print { :root { --ink: #000; --dim: #444; --rule: #bbb; --soft: #f4f4f4; --link: #000; --paper: #fff }
  body { max-width: none; padding: 0; font-size: 10.5pt } .wide { overflow: visible } figure, tr { break-inside: avoid }
  h2 { break-after: avoid } figure svg { min-width: 0 } pre { white-space: pre-wrap } }
"""
