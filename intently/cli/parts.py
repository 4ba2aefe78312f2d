"""A command's report: its parts, as they are shown on a terminal, as one HTML page, and as Markdown."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from rich.table import Table

from intently.terminal import SafeConsole, visible

_STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}
table{border-collapse:collapse;width:100%}th,td{border-bottom:1px solid #ddd;padding:.3rem .6rem;text-align:left;
vertical-align:top;overflow-wrap:anywhere;white-space:pre-line}th{overflow-wrap:normal}
.loud{color:#a40000;font-weight:600}@media(prefers-color-scheme:dark){body{background:#16181c;color:#e6e6e6}th,td{border-color:#444}.loud{color:#ff8a8a}}"""


@dataclass(frozen=True)
class Part:
    """A part of the report: a heading, lines of text (loud ones stand out), and a table."""

    title: str
    lines: Sequence[str] = ()
    loud: Sequence[str] = ()
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()


def show(console: SafeConsole, parts: Sequence[Part]) -> None:
    """Print the report."""
    for part in parts:
        console.print(part.title, style="bold", soft_wrap=True)
        for line in part.loud:
            console.print(f"  ! {line}", style="red", soft_wrap=True)
        for line in part.lines:
            console.print(f"  {line}", soft_wrap=True)
        if part.rows:
            table = Table(*part.columns, box=None, pad_edge=True)
            for row in part.rows:
                table.add_row(*(visible(cell) for cell in row))
            console.print(table)
        console.print()


def page(parts: Sequence[Part]) -> str:
    """Return the report as one HTML page that needs nothing else."""
    body = []
    for at, part in enumerate(parts):
        body.append(f"<h{1 if at == 0 else 2}>{escape(part.title)}</h{1 if at == 0 else 2}>")
        body += [f'<p class="loud">{escape(line)}</p>' for line in part.loud]
        body += [f"<p>{escape(line)}</p>" for line in part.lines]
        if part.rows:
            head = "".join(f'<th scope="col">{escape(name)}</th>' for name in part.columns)
            rows = "".join("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in row) + "</tr>\n" for row in part.rows)
            body.append(f"<table><thead><tr>{head}</tr></thead><tbody>\n{rows}</tbody></table>")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{escape(parts[0].title)}</title>\n<style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def markdown(parts: Sequence[Part]) -> str:
    """Return the report as Markdown."""
    blocks = []
    for at, part in enumerate(parts):
        blocks.append(f"{'#' if at == 0 else '##'} {_md(part.title)}")
        blocks += [f"**{_md(line)}**" for line in part.loud]
        blocks += [_md(line) for line in part.lines]
        if part.rows:
            rows = [part.columns, ["---"] * len(part.columns), *(map(_cell, row) for row in part.rows)]
            blocks.append("\n".join(f"| {' | '.join(row)} |" for row in rows))
    return "\n\n".join(blocks) + "\n"


def _cell(text: str) -> str:
    return "<br>".join(map(_md, text.splitlines()))


def _md(text: str) -> str:
    """Return a text on one line that Markdown shows as it is."""
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", " ".join(text.split()))
