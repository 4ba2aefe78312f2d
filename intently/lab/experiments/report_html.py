"""A report as one HTML file that needs nothing else."""

import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from intently.files import write_text
from intently.lab.experiments.report import Case, Cell, Section, Table


def write_html(path: Path, title: str, sections: Sequence[Section], facts: Mapping[str, Any]) -> None:
    """Write a report as one HTML file: no scripts, nothing fetched; `facts` (machine, date, commit …) stand on top."""
    entries = "".join(f'<li><a href="#s{i}">{_html(each.title)}</a></li>' for i, each in enumerate(sections, start=1))
    known = "".join(f"<div><dt>{_html(key)}</dt><dd>{_html(_fact(facts[key]))}</dd></div>" for key in facts)
    write_text(
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
        shown = "".join(f"<li>{_html(ad.text)}</li>" for ad in ads)
        systems.append(
            f"<div><h4>{_html(system)}</h4>"
            + (f'<ul class="said" aria-label="Intentions">{understood}</ul>' if intentions else "")
            + (f"<ol>{shown}</ol></div>" if ads else '<p class="note">no ads</p></div>')
        )
    note = f'<p class="note">{_html(case.note)}</p>' if case.note else ""
    return f'<article><h3>{_html(case.query)}</h3><div class="side">{"".join(systems)}</div>{note}</article>'


def _fact(value: Any) -> str:
    return Cell(value).text if value is None or isinstance(value, int | float) else str(value)


def _html(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


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
