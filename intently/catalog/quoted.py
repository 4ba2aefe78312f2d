"""Rows out of CSV: commas or tabs, standard quoting, rows that may run over lines."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from intently.catalog.fields import BATCH_ROWS, Rows, wrong_count
from intently.catalog.lines import Lines
from intently.errors import InputError

_CURE = "quote the fields that hold a separator, quote or line break"


class _Feed:
    """Feed lines to a `csv.reader`, and feed them again when they turn out not to be one row.

    An opening quote that is never closed makes the reader swallow what follows. Only the line with that quote is wrong,
    so the lines after it are put back.
    """

    def __init__(self, batches: Iterable[Lines]):
        self.errors: list[InputError] = []
        self.taken: list[tuple[int, str]] = []
        self._put_back: list[tuple[int, str]] = []
        self._coming = self._number(batches)

    def _number(self, batches: Iterable[Lines]) -> Iterator[tuple[int, str]]:
        for lines in batches:
            self.errors += lines.errors
            yield from zip(lines.numbers.tolist(), lines.text.to_pylist(), strict=True)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._put_back.pop() if self._put_back else next(self._coming)
        self.taken.append(line)
        return line[1] + "\n"

    def refuse(self, problem: str, path: Path) -> None:
        """Note that the line a row began with is wrong, and put back the lines taken after it."""
        (number, _), *later = self.taken
        self.errors.append(InputError(problem, cure=_CURE, path=path, line=number))
        self._put_back += reversed(later)


def read_csv(
    batches: Iterable[Lines], columns: Mapping[str, int], num_fields: int, delimiter: str, path: Path
) -> Iterator[Rows]:
    """Read rows out of CSV: `columns` gives the place of each field among the `num_fields` of a row."""
    lines = _Feed(batches)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    next(record for record in reader if record)  # the header
    numbers: list[int] = []
    records: list[list[str]] = []
    while True:
        lines.taken.clear()
        try:
            record = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            lines.refuse(f"not valid CSV: {error}", path)
            continue
        (first, _), (last, _) = lines.taken[0], lines.taken[-1]
        if not record:  # an empty line
            if num_fields > 1:
                continue
            record = [""]
        if len(record) != num_fields:
            lines.refuse(wrong_count(len(record), num_fields), path)
        elif last - first != len(lines.taken) - 1:
            lines.refuse("a later line of this row is damaged", path)
        else:
            numbers.append(first)
            records.append(record)
        if len(records) == BATCH_ROWS:
            yield _rows(numbers, records, columns, lines)
            numbers, records = [], []
    yield _rows(numbers, records, columns, lines)


def _rows(numbers: list[int], records: list[list[str]], columns: Mapping[str, int], lines: _Feed) -> Rows:
    arrays = {name: pa.array([record[at] for record in records], pa.string()) for name, at in columns.items()}
    errors, lines.errors = lines.errors, []
    return Rows(np.array(numbers, dtype=np.int64), arrays, errors)
