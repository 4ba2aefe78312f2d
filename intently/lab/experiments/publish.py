"""Writing a report to files: as HTML, and as a block of a Markdown file with figures beside it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from intently.errors import InputError
from intently.files import write_text
from intently.lab.experiments.report import Section
from intently.lab.experiments.report_html import write_html
from intently.lab.experiments.report_markdown import markdown


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


def write_figures(directory: Path, sections: Sequence[Section]) -> None:
    """Write the figures of the sections as SVG files, for Markdown. Raises InputError when two have the same name."""
    directory.mkdir(parents=True, exist_ok=True)
    figures = [figure for section in sections for figure in section.figures]
    if len({figure.name for figure in figures}) < len(figures):
        raise InputError("two figures have the same name", cure="name them differently")
    for figure in figures:
        write_text(directory / f"{figure.name}.svg", figure.svg + "\n")


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
        write_text(path, new)
