"""The file formats that every reader takes.

| format | suffix | separator and quoting |
|---|---|---|
| `tsv` | `.tsv` | tabs; there is no quoting, a quote is a character |
| `csv` | `.csv` | commas, semicolons, or tabs when the header line has one (as in WANDS); standard quoting |
| `jsonl` | `.jsonl`, `.ndjson` | one JSON object a line |
| `parquet` | `.parquet` | |
| `trec` | chosen by the reader | any white space, no header |

All but Parquet may be compressed (`.gz`, `.bz2`, `.xz`, `.zst`), and may come from a pipe; `-` is standard input. Where
the suffix names no format (`.txt`, `.json`, a pipe) the first line does. Columns are matched by header, whatever its
case, blanks, hyphens and underscores. An empty line, or one of separators alone, holds no row and is passed over; where
there is one column only it is an empty value. Values are text, whatever they look like: "NA" and "null" are words.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.compute as pc

from intently.catalog.delimited import read_delimited
from intently.catalog.fields import Field, Rows, fold_name, match_fields, num_named, unmatched
from intently.catalog.foreign import check_path
from intently.catalog.jsonl import jsonl_keys, parse_json, read_jsonl
from intently.catalog.lines import STANDARD_INPUT, Lines, compression_suffix, place_of, read_lines
from intently.catalog.parquet import parquet_columns, read_parquet
from intently.catalog.problems import Errors, quote
from intently.catalog.quoted import csv_delimiter, csv_header, read_csv
from intently.errors import InputError

Format = Literal["tsv", "csv", "jsonl", "parquet", "trec"]
_FORMATS: dict[str, Format] = {
    ".tsv": "tsv",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
_UNSAID = (".txt", ".json", "")  # suffixes that may hold several formats
_MAX_TITLE_LINES = 20
_REST = "rest:"  # before the name of a column that no field is called


class Table:
    """A file of rows whose header is known and whose rows are still to be read. It is opened once.

    `place` is what messages call the file. `header` holds the column names: the first line, the keys of the first JSON
    objects, or a Parquet schema; for a file without a header line these are the values of its first row.
    """

    def __init__(self, path: str | Path, default: Format | None = None, *, format: Format | None = None) -> None:
        """Open `path`, whose format is `format`, else that of its suffix, `default`, or what its first line looks like.

        Raises InputError for a file that cannot be read, is empty, or is of no known format.
        """
        if not isinstance(path, str | Path):
            raise InputError(f"expected a path, got {type(path).__name__}", cure='write "ads.tsv"', field="path")
        self.path = Path(path)
        self.place = place_of(self.path)
        check_path(self.path)
        named = format or _named_format(self.path, default)
        if named == "parquet":
            self.format: Format = named
            self.header = parquet_columns(self.path)
            return
        self._batches = read_lines(self.path)
        self._first, self._start = self._first_batch(may_skip=named == "jsonl")
        self.format = named or _guessed_format(self._line(), self.path, self.place, default)
        self.header = self._read_header()

    def first_lines(self, num_lines: int) -> list[str]:
        """Return the first lines of a file of lines, from the first that is not empty."""
        texts: list[str] = self._first.text[self._start : self._start + num_lines].to_pylist()
        return texts

    def match(self, fields: Sequence[Field]) -> dict[str, str]:
        """Return field name → column name for the fields that the file has.

        Raises InputError for a required field that is missing, with what the header looks like, and for one whose
        column is named twice. In JSON lines any key may be missing in the first objects.
        """
        if self.format == "jsonl":
            return match_fields(self.header, [field.optional() for field in fields], self.place)
        try:
            return match_fields(self.header, fields, self.place)
        except InputError as error:
            if self.format == "parquet" or not (hint := self._hint(fields)):
                raise
            raise InputError(
                f"{error.problem} ({hint[0]})", cure=hint[1], path=self.place, line=1, field=error.field
            ) from None

    def rows(
        self, fields: Sequence[Field], header: Sequence[str] | None = None, *, rest: bool = False
    ) -> Iterator[Rows]:
        """Read `fields` in batches of rows, once; with `rest` also the columns that no field is called.

        `header` names the columns of a TSV or TREC file that has no header line. Raises InputError for a file that
        cannot be read or lacks a required column; what is wrong with single rows is in `Rows.errors`.
        """
        if self.format == "parquet":
            yield from read_parquet(self.path, fields, rest=rest)
            return
        batches = chain([self._first], self._batches)
        if self.format == "jsonl":
            yield from read_jsonl(batches, fields, self.place, rest=rest)
            return
        names = header or self.header
        matched = match_fields(names, fields, self.place) if header else self.match(fields)
        others = unmatched(names, matched) if rest else {}
        columns = {name: names.index(column) for name, column in matched.items()}
        columns |= {_REST + name: names.index(column) for name, column in others.items()}
        for rows in self._delimited(batches, columns, names, has_header=header is None):
            found: dict[str, Any] = {}
            left: dict[str, Any] = {}
            for name, values in rows.columns.items():
                (left if name.startswith(_REST) else found)[name.removeprefix(_REST)] = values
            yield replace(rows, columns=found, rest=left)

    def _delimited(
        self, batches: Iterable[Lines], columns: dict[str, int], names: Sequence[str], *, has_header: bool
    ) -> Iterator[Rows]:
        if self.format == "csv":
            delimiter = csv_delimiter(self._line())
            yield from read_csv(batches, columns, num_named(names), delimiter, self.place)
        else:
            assert self.format in ("tsv", "trec")
            yield from read_delimited(
                batches, columns, num_named(names), self.format, self.place, has_header=has_header
            )

    def _first_batch(self, *, may_skip: bool) -> tuple[Lines, int]:
        """Return the first batch that has a line which is not empty, and the position of that line.

        Raises InputError for a wrong line before it, which may have been the header, unless such lines may be skipped.
        """
        errors = Errors()
        for lines in self._batches:
            errors += lines.errors
            filled = np.flatnonzero(pc.not_equal(lines.text, ""))
            error = next(iter(errors), None)
            if error and not may_skip and not (filled.size and lines.numbers[filled[0]] < (error.line or 0)):
                raise error
            if filled.size:
                return Lines(lines.numbers, lines.text, errors), int(filled[0])
        if errors:
            raise next(iter(errors))
        raise InputError("the file is empty", cure="give a header line and rows", path=self.place)

    def _line(self, number: int = 0) -> str:
        return str(self._first.text[self._start + number])

    def _read_header(self) -> tuple[str, ...]:
        if self.format == "jsonl":
            return jsonl_keys([self._first], self.place)
        if self.format == "csv":
            return csv_header(self._first.text[self._start :].to_pylist(), self.place)
        line = self._line()
        return tuple(line.split("\t") if self.format == "tsv" else line.split())

    def _hint(self, fields: Sequence[Field]) -> tuple[str, str] | None:
        """Return what a file without the wanted header looks like, and the way out."""
        wanted = [set(field.columns) for field in fields if field.required]
        for number, line in enumerate(self.first_lines(_MAX_TITLE_LINES)):
            for name, separator in (("tabs", "\t"), ("commas", ","), ("semicolons", ";"), ("bars", "|")):
                names = {fold_name(each.strip().strip('"')) for each in line.split(separator)}
                if all(names & columns for columns in wanted):
                    if number:
                        at = int(self._first.numbers[self._start + number])
                        return f"line {at} looks like the header", "remove the lines before it"
                    if name == "bars":
                        return "the fields are separated by bars", "separate them by tabs or commas"
                    suffix = ".tsv" if name == "tabs" else ".csv"
                    return f"the fields are separated by {name}", f"name the file {suffix}"
        if self._line().lstrip().startswith("{"):
            return "the file looks like JSON lines", "name the file .jsonl"
        return None


def _named_format(path: Path, default: Format | None) -> Format | None:
    """Return the format that the suffix of `path` names, None if the first line has to."""
    compression = compression_suffix(path)
    suffix = (Path(path.stem) if compression else path).suffix.lower()
    found = _FORMATS.get(suffix)
    if found == "parquet" and compression:
        raise InputError("Parquet inside a compressed file", cure="decompress it", path=path)
    if found or suffix in _UNSAID:
        return found
    if default is None:
        cure = f"use one of {', '.join(_FORMATS)}, plain or with .gz, .bz2, .xz or .zst after it"
        raise InputError(f"unknown format {suffix!r}", cure=cure, path=path)
    return default


def _guessed_format(line: str, path: Path, place: object, default: Format | None) -> Format:
    """Return the format of a file whose suffix says nothing, by its first line that is not empty."""
    if line.lstrip().startswith("{") and (path == STANDARD_INPUT or path.suffix.lower() != ".txt" or not default):
        try:
            if isinstance(parse_json(line), dict):
                return "jsonl"
        except ValueError:
            pass
        cure = "write one JSON object a line: jq -c . FILE.json > FILE.jsonl"
        raise InputError("a JSON document over several lines", cure=cure, path=place, line=1)
    if default is not None:
        return default
    if "\t" in line:
        return "csv" if line.startswith('"') else "tsv"
    if "," in line or ";" in line:
        return "csv"
    cure = f"name the file {', '.join(_FORMATS)} or begin it with a header"
    raise InputError(f"unknown format, and the first line has no separator: {quote(line)}", cure=cure, path=place)
