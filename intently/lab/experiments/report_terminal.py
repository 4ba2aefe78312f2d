"""A report's chapters on a terminal: their paragraphs and tables. Figures are for pages."""

from collections.abc import Sequence

from rich.table import Table as Grid

from intently.lab.experiments.report import Section
from intently.terminal import SafeConsole, visible


def show(console: SafeConsole, sections: Sequence[Section]) -> None:
    """Print the sections."""
    for section in sections:
        console.print(section.title, style="bold", soft_wrap=True)
        for paragraph in section.paragraphs:
            console.print(f"  {paragraph}", soft_wrap=True)
        if section.table:
            grid = Grid(box=None)
            for name, is_number in zip(section.table.columns, section.table.is_numeric(), strict=True):
                grid.add_column(name, justify="right" if is_number else "left")
            for row in section.table.cells():
                cells = [row] if isinstance(row, str) else [f"{cell.text}{cell.stars}" for cell in row]
                grid.add_row(*map(visible, cells), style="bold" if isinstance(row, str) else None)
            console.print(grid)
            if section.table.note:
                console.print(f"  {section.table.note}", style="dim", soft_wrap=True)
        console.print()
