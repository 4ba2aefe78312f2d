"""Rows out of CSV: commas, semicolons or tabs, standard quoting, rows that may run over lines."""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from intently.arrays import IntArray, Mask
from intently.catalog.fields import BATCH_ROWS, Rows, wrong_count
from intently.catalog.lines import Lines
from intently.catalog.problems import Errors, RowCheck
from intently.errors import InputError

MAX_FIELD_CHARACTERS = 16 << 20
MAX_READ_AGAIN = 128 << 20  # characters that may be read again after quotes that are never closed

_CURE = "quote the fields that hold a separator, quote or line break, and write a quote inside them twice"


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


def are_blanks_before_quotes(lines: Iterable[str], delimiter: str) -> bool:
    """Return whether lines have fields in quotes with blanks between them and the separator: `1, "Kettle, red"`."""
    mark = re.escape(delimiter)
    return any(re.search(rf'{mark} +"[^"]*" *({mark}|$)', line) for line in lines)


def csv_header(
    lines: Sequence[str], path: object, delimiter: str = "", *, skip_blanks: bool = False
) -> tuple[str, ...]:
    """Return the fields of the first row that is not empty. Raises InputError when it is not valid CSV."""
    csv.field_size_limit(max(csv.field_size_limit(), MAX_FIELD_CHARACTERS))
    try:
        delimiter = delimiter or csv_delimiter(lines[0])
        fields = csv.reader(
            (f"{line}\n" for line in lines), delimiter=delimiter, strict=True, skipinitialspace=skip_blanks
        )
        return tuple(next((record for record in fields if record), ()))
    except csv.Error as error:
        raise InputError(f"the header is not valid CSV: {error}", cure=_CURE, path=path, line=1) from None


def read_csv(
    batches: Iterable[Lines],
    columns: Mapping[str, int],
    num_fields: int,
    delimiter: str,
    path: object,
    *,
    num_needed: int | None = None,
    skip_blanks: bool = False,
) -> Iterator[Rows]:
    """Read rows out of CSV: `columns` gives the place of each field among the `num_fields` of a row.

    With `skip_blanks`, blanks after a separator may come before a quote (see `are_blanks_before_quotes`).
    Empty fields after them do not matter. Rows with the first `num_needed` only are taken where all rows look as if
    empty fields at their ends had been left out. The size limit of Python's csv module, which holds for the whole
    process, is raised if it is lower than 16 million characters.
    """
    csv.field_size_limit(max(csv.field_size_limit(), MAX_FIELD_CHARACTERS))
    lines = _Feed(batches)
    reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=skip_blanks)
    next(record for record in reader if record)  # the header
    numbers: list[int] = []
    records: list[list[str]] = []
    at_least = num_fields if num_needed is None else num_needed
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
        is_whole = len(lines.taken) == 1 and at_least <= len(record)
        if len(record) != num_fields and (
            any(map(str.strip, record[num_fields:])) if len(record) > num_fields else not is_whole
        ):
            lines.refuse(wrong_count(len(record), num_fields), path)
        elif last - first != len(lines.taken) - 1:
            lines.refuse("a later line of this row is damaged", path)
        else:
            numbers.append(first)
            records.append(record)
        if len(records) == BATCH_ROWS:
            yield _rows(numbers, records, columns, num_fields, lines, path)
            numbers, records = [], []
    yield _rows(numbers, records, columns, num_fields, lines, path)


def _rows(
    numbers: list[int],
    records: list[list[str]],
    columns: Mapping[str, int],
    num_fields: int,
    lines: _Feed,
    path: object,
) -> Rows:
    errors, lines.errors = lines.errors, Errors()
    check = RowCheck(path, np.array(numbers, dtype=np.int64))
    counts = np.array([len(record) for record in records], dtype=np.int64)
    short = counts < num_fields
    if short.any():
        ends_empty = np.array([not record[-1].strip() for record in records], dtype=np.bool_)
        trimmed = are_trimmed(counts, ends_empty, num_fields)
        check.reject(short & ~trimmed, "", lambda row: wrong_count(int(counts[row]), num_fields), _CURE)
        records = [record + [""] * (num_fields - len(record)) for record in records]
        records = [record for record, good in zip(records, check.keep.tolist(), strict=True) if good]
    arrays = {name: pa.array([record[at] for record in records], pa.string()) for name, at in columns.items()}
    return Rows(check.lines[check.keep], arrays, errors + check.errors, num_short=int((short & check.keep).sum()))


def _in_words(error: csv.Error) -> str:
    if "field limit" in str(error):
        return f"a field of over {csv.field_size_limit():,} characters, or a quote that is never closed"
    if "new-line character" in str(error):
        return "not valid CSV: a carriage return inside a field without quotes"
    return f"not valid CSV: {error}"


def are_trimmed(counts: IntArray, ends_empty: Mask, num_fields: int) -> Mask:
    """Return which rows (N,) with fewer than `num_fields` fields have only lost empty ones at their ends.

    None has if a row ends with an empty field. Two rows, one after the other, that have together as many fields as one
    are rather a row that was broken in two.
    """
    short = counts < num_fields
    if (ends_empty & (counts == num_fields)).any() or (ends_empty & short).any():
        return np.zeros(len(counts), dtype=np.bool_)
    pair = counts[:-1] + counts[1:]
    broken = short[:-1] & short[1:] & ((pair == num_fields) | (pair == num_fields + 1))
    whole = short.copy()
    whole[:-1] &= ~broken
    whole[1:] &= ~broken
    return whole
