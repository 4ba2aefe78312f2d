"""Rows out of CSV: commas, semicolons or tabs, standard quoting, rows that may run over lines."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from intently.catalog.fields import BATCH_ROWS, Rows, wrong_count
from intently.catalog.lines import Lines
from intently.catalog.problems import Errors
from intently.errors import InputError

MAX_FIELD_CHARACTERS = 16 << 20
MAX_READ_AGAIN = 128 << 20  # characters that may be read again after quotes that are never closed

_CURE = "quote the fields that hold a separator, quote or line break"


class _Feed:
    """Feed lines to a `csv.reader`, and feed them again when they turn out not to be one row.

    An opening quote that is never closed makes the reader swallow what follows. Only the line with that quote is wrong,
    so the lines after it are put back.
    """

    def __init__(self, batches: Iterable[Lines]):
        self.errors, self._num_again = Errors(), 0
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

    def refuse(self, problem: str, path: object) -> None:
        """Note that the line a row began with is wrong, and put back the lines taken after it."""
        (number, _), *later = self.taken
        self.errors.append(InputError(problem, cure=_CURE, path=path, line=number))
        self._put_back += reversed(later)
        self._num_again += sum(len(text) for _, text in later)
        if self._num_again > MAX_READ_AGAIN:  # else a hostile file takes time in proportion to its square
            raise InputError("too many quotes that are never closed", cure=_CURE, path=path, line=number)


def csv_delimiter(header_line: str) -> str:
    """Return what separates the fields of a header: a tab if there is one, else what there is more of."""
    if "\t" in header_line:
        return "\t"
    return ";" if header_line.count(";") > header_line.count(",") else ","


def csv_header(lines: Sequence[str], path: object) -> tuple[str, ...]:
    """Return the fields of the first row that is not empty. Raises InputError when it is not valid CSV."""
    csv.field_size_limit(max(csv.field_size_limit(), MAX_FIELD_CHARACTERS))
    try:
        fields = csv.reader((f"{line}\n" for line in lines), delimiter=csv_delimiter(lines[0]), strict=True)
        return tuple(next((record for record in fields if record), ()))
    except csv.Error as error:
        raise InputError(f"the header is not valid CSV: {error}", cure=_CURE, path=path, line=1) from None


def read_csv(
    batches: Iterable[Lines], columns: Mapping[str, int], num_fields: int, delimiter: str, path: object
) -> Iterator[Rows]:
    """Read rows out of CSV: `columns` gives the place of each field among the `num_fields` of a row.

    Empty fields after them do not matter. The size limit of Python's csv module, which holds for the whole process, is
    raised if it is lower than 16 million characters.
    """
    csv.field_size_limit(max(csv.field_size_limit(), MAX_FIELD_CHARACTERS))
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
            lines.refuse(_in_words(error), path)
            continue
        (first, _), (last, _) = lines.taken[0], lines.taken[-1]
        if not any(record):  # an empty line, or one of separators alone
            if num_fields > 1:
                continue
            record = record or [""]
        if len(record) != num_fields and (len(record) < num_fields or any(map(str.strip, record[num_fields:]))):
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
    errors, lines.errors = lines.errors, Errors()
    return Rows(np.array(numbers, dtype=np.int64), arrays, errors)


def _in_words(error: csv.Error) -> str:
    if "field limit" in str(error):
        return f"a field of over {csv.field_size_limit():,} characters, or a quote that is never closed"
    return f"not valid CSV: {error}"
