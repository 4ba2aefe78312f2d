"""The file formats that every reader takes.

| format | suffix | separator and quoting |
|---|---|---|
| `tsv` | `.tsv` | tabs; there is no quoting, a quote is a character |
| `csv` | `.csv` | commas, or tabs when the header line has one (as in WANDS); standard quoting |
| `jsonl` | `.jsonl`, `.ndjson` | one JSON object a line |
| `parquet` | `.parquet` | |
| `trec` | chosen by the reader | any white space, no header |

All but Parquet may be compressed (`.gz`, `.bz2`, `.xz`, `.zst`). Columns are matched by header, whatever its case.
An empty line holds no row and is passed over, except where there is one column only: there it is an empty value.
Values are text, whatever they look like: "NA" and "null" are words.
"""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow.compute as pc

from intently.catalog.delimited import read_delimited
from intently.catalog.fields import Field, Rows, match_fields
from intently.catalog.jsonl import jsonl_keys, read_jsonl
from intently.catalog.lines import compression_suffix, read_lines
from intently.catalog.parquet import parquet_columns, read_parquet
from intently.catalog.quoted import read_csv
from intently.errors import InputError

Format = Literal["tsv", "csv", "jsonl", "parquet", "trec"]
_FORMATS: dict[str, Format] = {
    ".tsv": "tsv",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}


def detect_format(path: Path, default: Format | None = None) -> Format:
    """Return the format that the suffix of `path` names, else `default`; raises InputError when there is none."""
    compression = compression_suffix(path)
    suffix = (Path(path.stem) if compression else path).suffix.lower()
    found = _FORMATS.get(suffix, default)
    if found is None:
        cure = f"use one of {', '.join(_FORMATS)}, plain or with .gz, .bz2, .xz or .zst after it"
        raise InputError(f"unknown format {suffix or path.name!r}", cure=cure, path=path)
    if found == "parquet" and compression:
        raise InputError("Parquet inside a compressed file", cure="decompress it", path=path)
    return found


def read_header(path: Path, format: Format) -> tuple[str, ...]:
    """Return the column names of `path`: its first line, the keys of its first JSON objects, or its Parquet schema.

    For a file without a header line these are the values of its first row. Raises InputError for an empty file.
    """
    if format == "parquet":
        return parquet_columns(path)
    if format == "jsonl":
        return jsonl_keys(read_lines(path), path)
    line = _first_line(path)
    if format == "csv":
        return tuple(next(csv.reader([line], delimiter=_csv_delimiter(line))))
    return tuple(line.split("\t") if format == "tsv" else line.split())


def read_rows(
    path: Path, fields: Sequence[Field], format: Format, header: Sequence[str] | None = None
) -> Iterator[Rows]:
    """Read `fields` from `path` in batches of rows.

    `header` names the columns of a TSV or TREC file that has no header line. Raises InputError for a file that cannot
    be read or lacks a required column; what is wrong with single rows is in `Rows.errors`.
    """
    if format == "parquet":
        yield from read_parquet(path, fields)
        return
    names = header or read_header(path, format)
    if format == "jsonl":
        yield from read_jsonl(read_lines(path), fields, path)
        return
    columns = {name: names.index(column) for name, column in match_fields(names, fields, path).items()}
    if format == "csv":
        delimiter = _csv_delimiter(_first_line(path))
        yield from read_csv(read_lines(path), columns, len(names), delimiter, path)
    else:
        has_header = header is None
        yield from read_delimited(read_lines(path), columns, len(names), format, path, has_header=has_header)


def _csv_delimiter(header_line: str) -> str:
    return "\t" if "\t" in header_line else ","


def _first_line(path: Path) -> str:
    """Return the first line that is not empty."""
    for lines in read_lines(path):
        filled = np.flatnonzero(pc.not_equal(lines.text, ""))
        if lines.errors and not (filled.size and lines.numbers[filled[0]] < (lines.errors[0].line or 0)):
            raise lines.errors[0]  # it may have been the header
        if filled.size:
            return str(lines.text[int(filled[0])])
    raise InputError("the file is empty", cure="give a header line and rows", path=path)
