"""Where the header of a table in text is, and what separates its fields.

Reports begin with lines of title and dates, Excel with `sep=;`, and a suffix may be wrong. Among the first lines the
header is the first one that has the columns which a reader looks for, whatever separates them.
"""

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from intently.catalog.quoted import csv_delimiter, csv_header
from intently.errors import InputError

MAX_TITLE_LINES = 20
NAMES = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars"}
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?[,;\t]*')

IsHeader = Callable[[Sequence[str]], bool]


@dataclass(frozen=True, slots=True)
class Header:
    """The position of the header among the first lines, what separates fields, and whether that was looked for."""

    at: int
    delimiter: str
    was_found: bool  # the columns looked for are there
    num_titles: int = 0  # lines with text before it


def find_header(lines: Sequence[str], expected: str, is_header: IsHeader | None) -> Header:
    """Return where the header is among `lines`; `expected` separates fields if several ways fit, or none ("": any)."""
    first = 0
    if separator := _SEPARATOR_LINE.fullmatch(lines[0].strip()):
        expected, first = separator[1], next((at for at, line in enumerate(lines[1:], 1) if line.strip()), 0)
    order = dict.fromkeys((*expected, "\t", ",", ";", "|"))
    for at, line in enumerate(lines[first : first + MAX_TITLE_LINES], first) if is_header else ():
        for delimiter in order:
            if line.strip() and is_header and is_header(_fields(line, delimiter)):
                return Header(at, delimiter, True, sum(bool(each.strip()) for each in lines[first:at]))
    return Header(first, expected or csv_delimiter(lines[first]), False)


def header_below_title(lines: Sequence[str], found: Header) -> Header:
    """Return the first line with several fields, where the line that was taken for a header has one: a title.

    No line has the columns that are looked for, and a message about it should tell what the table has.
    """
    if any(mark in lines[found.at] for mark in NAMES):
        return found
    at = next((at for at, line in enumerate(lines[:MAX_TITLE_LINES]) if any(mark in line for mark in NAMES)), found.at)
    return Header(at, csv_delimiter(lines[at]), False)


def _fields(line: str, delimiter: str) -> list[str]:
    if '"' not in line:
        return line.split(delimiter)
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []


def is_quoted(lines: Sequence[str], num_fields: int) -> bool:
    """Return whether lines of tab-separated fields, some of which begin with a quote, are quoted as Excel quotes."""
    try:
        csv_header(lines[:1], None, "\t")
        rows = csv.reader((f"{line}\n" for line in lines), delimiter="\t", strict=True)
        return all(len(row) == num_fields or not any(row) for row in rows)
    except (csv.Error, InputError):
        return False
