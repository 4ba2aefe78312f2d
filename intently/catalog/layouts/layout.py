"""What a layout is: an export of one of the trade's systems, known by its columns."""

from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from intently.catalog.smells import smells
from intently.errors import InputError
from intently.rules.keyword import with_match_type

Row = dict[str, str]  # folded column → cell, "" for none
Record = dict[str, Any]


@dataclass
class Reshaped:
    """The ads of a whole export, with the lines they begin on, and what became of its other rows."""

    lines: list[int] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)  # kind of row → how many are no ads of their own
    notes: list[str] = field(default_factory=list)
    wrong: list[tuple[int, InputError]] = field(default_factory=list)  # rows that are not understood, by line
    unused: Counter[str] = field(default_factory=Counter)  # columns of campaigns and ad groups that decide something

    def add(self, line: int, record: Record) -> None:
        """Add an ad."""
        self.lines.append(line)
        self.records.append(record)

    def pass_over(self, row: Row, used: Container[str]) -> None:
        """Note the columns of a campaign's or ad group's row that smell as if they decided something for its ads."""
        told = [name for name, cell in row.items() if name not in used and smells(name) and _says_something(cell)]
        self.unused.update(told)

    def warnings(self) -> list[str]:
        """Return what is in the export and is not used as its owner may think."""
        if not self.unused:
            return self.notes
        told = ", ".join(self.unused)
        return [*self.notes, f"columns of campaigns and ad groups that are not used: {told}"]

    def typed(self, line: int, keyword: str, match_type: str) -> list[str]:
        """Return a keyword with the marks of the match type that a column names, as it is where that names none.

        The list is empty for a match type that is not understood: a guess would serve the ad too widely.
        """
        try:
            return [with_match_type(keyword, match_type) if match_type.strip() else keyword.strip()]
        except InputError as error:
            self.wrong.append((line, error))
            return []


def _says_something(cell: str) -> bool:
    return cell.strip().lower() not in ("", "--", "[]", "0", "0%", "0.00", "0.0", "all", "none", "default")


@dataclass(frozen=True)
class Layout:
    """A layout: its name for `--format`, what it is, and the columns of which one set has to be there.

    `columns` name fields by their columns where the common names mean something else. `reshape` makes ads of all rows
    (with their lines) of an export whose rows are not each an ad. `refusal` is the problem and the cure of an export
    that has no ads.
    """

    name: str
    title: str
    marks: tuple[frozenset[str], ...]
    columns: Mapping[str, str] = field(default_factory=dict)
    reshape: Callable[[Sequence[int], Sequence[Row]], Reshaped] | None = None
    refusal: tuple[str, str] | None = None

    def fits(self, names: frozenset[str]) -> bool:
        """Return whether a header with these folded names is of this layout."""
        return any(mark <= names for mark in self.marks)


def marks(*sets: str) -> tuple[frozenset[str], ...]:
    """Return sets of columns that are each written with blanks between them."""
    return tuple(frozenset(each.split()) for each in sets)


def first_of(row: Mapping[str, str], *names: str) -> str:
    """Return the first of these cells that is not empty, "" if all are."""
    return next((cell for name in names if (cell := row.get(name, "").strip()) not in ("", "--")), "")


def sentences(*texts: str) -> str:
    """Return texts as sentences: those that end without a mark get a point."""
    whole = [text.strip() for text in texts if text.strip() and text.strip() != "--"]
    ended = [text if text[-1] in ".!?。！？…" else f"{text}." for text in whole[:-1]] + whole[-1:]
    return " ".join(ended)
