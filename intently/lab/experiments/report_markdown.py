"""A report as Markdown, with figures from files beside it."""

import re
from collections.abc import Sequence

from intently.lab.experiments.report import Row, Section, Table


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
                [system, " · ".join(intentions), *(ad.text for ad in ads)]
                for system, (intentions, ads) in case.answers.items()
            ]
            most = max((len(row) for row in rows), default=2) - 2
            header = ["system", "intentions", *map(str, range(1, most + 1))]
            table = Table(header, [[*row, *[""] * (len(header) - len(row))] for row in rows])
            blocks += [f"**{_md(case.query)}**", _md_table(table), *([_md(case.note)] if case.note else [])]
    return "\n\n".join(blocks) + "\n"


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
