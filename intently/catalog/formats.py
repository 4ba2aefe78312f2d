"""The file formats that every reader takes.

| format | suffix | separator and quoting |
|---|---|---|
| `tsv` | `.tsv`, `.tab` | tabs; a quote is a character, unless all rows are quoted as Excel quotes |
| `csv` | `.csv` | commas, semicolons, bars, or tabs when the header line has one (as in WANDS); standard quoting |
| `jsonl` | `.jsonl`, `.ndjson` | one JSON object a line |
| `json` | `.json` | one document with a list of objects |
| `xml` | `.xml`, `.rss`, `.atom` | items of RSS, entries of Atom, products of a shop |
| `parquet` | `.parquet` | |
| `trec` | chosen by the reader | any white space, no header |

All but Parquet may be compressed (`.gz`, `.bz2`, `.xz`, `.zst`, `.zip`), and may come from a pipe; `-` is standard
input. What a file holds wins over its suffix, and is said in `notes`. Columns are matched by header, whatever its
case, blanks and punctuation. An empty line, or one of separators alone, holds no row and is passed over; where
there is one column only it is an empty value. Values are text, whatever they look like: "NA" and "null" are words.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from intently.catalog.delimited import read_delimited
from intently.catalog.fields import Field, Rows, fold_name, match_fields, num_named, unmatched
from intently.catalog.foreign import check_path
from intently.catalog.header import NAMES, IsHeader, find_header, header_below_title, is_quoted
from intently.catalog.json_document import holds_records, json_records
from intently.catalog.jsonl import jsonl_keys, parse_json, read_jsonl
from intently.catalog.lines import STANDARD_INPUT, Lines, compression_suffix, place_of, read_lines
from intently.catalog.parquet import parquet_columns, read_parquet
from intently.catalog.problems import Errors, quote
from intently.catalog.quoted import are_blanks_before_quotes, csv_header, read_csv
from intently.catalog.reading import IGNORED, Reading
from intently.catalog.records import Records, rows_of
from intently.catalog.xml_feed import xml_records
from intently.errors import InputError

Format = Literal["tsv", "csv", "jsonl", "json", "xml", "parquet", "trec"]
FORMATS: tuple[Format, ...] = get_args(Format)
_BY_SUFFIX: dict[str, Format] = {
    ".tsv": "tsv",
    ".tab": "tsv",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".xml": "xml",
    ".rss": "xml",
    ".atom": "xml",
    ".parquet": "parquet",
}
_UNSAID = (".txt", ".text", ".dat", ".psv", ".feed", ".json", ".zip", "")  # suffixes that may hold several formats
_REST = "rest:"  # before the name of a column that no field is called
_FIRST = "first cell"
_XML = re.compile(r"<(\?xml|rss|feed|rdf:rdf|products|catalog|shop)\b", re.IGNORECASE)
TOTAL = (
    r"(?i)^\s*((grand )?totals?( général| general)?\s*(:.*|-.*)?|gesamt(summe)?\s*(:.*|-.*)?|summe|totale(:.*)?|"
    r"(总计|合计|小计|總計|合計|汇总)\s*([:：].*)?)\s*$"
)
_HINTS = (
    "required",
    "optional",
    "conditional",
    "recommended",
    "mandatory",
    "必填",
    "选填",
)  # below a template's header
_MAX_QUOTED_LINES = 20_000  # looked at to see whether a TSV file is quoted


class Table:
    """A file of rows whose header is known and whose rows are still to be read. It is opened once.

    `place` is what messages call the file. `header` holds the column names: the first line, the keys of the first JSON
    objects, or a Parquet schema; for a file without a header line these are the values of its first row. `notes` say
    how it is read where that is not as its suffix says, and grow until all rows are read; `num_passed_over` counts
    title lines, and the rows of totals.
    """

    def __init__(
        self,
        path: str | Path,
        default: Format | None = None,
        *,
        format: Format | None = None,
        reading: Reading | None = None,
        is_header: IsHeader | None = None,
    ) -> None:
        """Open `path`, whose format is `format`, else what it holds, its suffix or `default` says.

        `is_header` tells whether a row names the columns that a reader needs; title lines before that row are skipped.
        Without a `default`, rows of totals are skipped too, and a row may lack its last fields. Raises InputError for a
        file that cannot be read, is empty, or is of no known format.
        """
        if not isinstance(path, str | Path):
            raise InputError(f"expected a path, got {type(path).__name__}", cure='write "ads.tsv"', field="path")
        self.path = Path(path)
        self.place = place_of(self.path)
        self.reading = reading or Reading()
        self.notes: list[str] = []
        self.num_titles = self.num_totals = self.num_headers = self.num_short = 0
        self._is_lenient = is_header is not None and default is None
        check_path(self.path)
        named = format or _named_format(self.path, default)
        if named == "parquet" or (named != "trec" and _is_parquet(self.path)):
            self.format: Format = "parquet"
            self.header = parquet_columns(self.path)
            return
        self._batches = read_lines(self.path, self.reading.encoding, self.notes)
        self._first, self._start = self._first_batch(may_skip=named == "jsonl")
        self.format = format or self._found_format(named, default)
        if self.format in ("tsv", "csv"):
            self._find_header(named, is_header)
        self.header = self._read_header()

    @property
    def header_line(self) -> int:
        """The line of the header, 1 where there is none."""
        return 1 if self.format in ("parquet", "json", "xml") else int(self._first.numbers[self._start])

    def first_lines(self, num_lines: int) -> list[str]:
        """Return the first lines of a file of lines, from the first that is not empty."""
        texts: list[str] = self._first.text[self._start : self._start + num_lines].to_pylist()
        return texts

    def match(self, fields: Sequence[Field]) -> dict[str, str]:
        """Return field name → column name for the fields that the file has.

        Raises InputError for a required field that is missing, with what the header looks like, for one whose
        column is named twice, and for a column that is to be mapped and is not there. In JSON and XML any key may be
        missing in the first objects.
        """
        fields = self.mapped(fields)
        if self.format in ("jsonl", "json", "xml"):
            return match_fields(self.header, [field.optional() for field in fields], self.place)
        folded = {fold_name(name) for name in self.header}
        for column, target in self.reading.columns.items() if fields else ():
            if column not in folded and column not in self.reading.usual:
                cure = f"the header has: {quote(', '.join(self.header), 200)}"
                raise InputError(f"no column {column!r} to read as {target}", cure=cure, path=self.place, field="map")
        return match_fields(self.header, fields, self.place)

    def rows(
        self, fields: Sequence[Field], header: Sequence[str] | None = None, *, rest: bool = False
    ) -> Iterator[Rows]:
        """Read `fields` in batches of rows, once; with `rest` also the columns that no field is called.

        `header` names the columns of a TSV or TREC file that has no header line. Raises InputError for a file that
        cannot be read or lacks a required column; what is wrong with single rows is in `Rows.errors`.
        """
        names = {name for field in fields for name in field.columns}
        renamed = {column: target for column, target in self.reading.columns.items() if target not in names}
        for rows in self._rows(self.mapped(fields), header, rest):
            self.num_short += rows.num_short
            if renamed and rows.rest:
                left = {renamed.get(name, name): values for name, values in rows.rest.items()}
                rows = replace(rows, rest={name: values for name, values in left.items() if name != IGNORED})
            yield rows

    def mapped(self, fields: Sequence[Field]) -> list[Field]:
        """Return the fields with the columns that the user says they are, and without those that are something else."""
        said = self.reading.columns
        column_of = {target: column for column, target in said.items()}

        def named(field: Field) -> Field:
            column = next((column_of[name] for name in field.columns if name in column_of), None)
            if column is None:
                own = (field.name, *field.aliases, *field.columns)
                left = tuple(name for name in field.columns if said.get(name, name) in own)
                return field if len(left) == len(field.columns) else replace(field, names=left)
            return replace(field, names=(column, *(field.columns if column in self.reading.usual else ())))

        return [named(field) for field in fields]

    def _rows(self, fields: Sequence[Field], header: Sequence[str] | None, rest: bool) -> Iterator[Rows]:
        if self.format == "parquet":
            yield from read_parquet(self.path, fields, rest=rest)
            return
        if self.format in ("json", "xml"):
            in_json = self.format == "json"
            for records in self._records:
                yield rows_of(records, fields, self.place, rest=rest, in_json=in_json)
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
        if self._is_lenient:
            columns |= {_FIRST: 0}
        needed = [columns[field.name] + 1 for field in fields if field.required]
        num_needed = max(needed, default=1) if self._is_lenient else None
        for rows in self._delimited(batches, columns, names, num_needed, has_header=header is None):
            found: dict[str, Any] = {}
            left: dict[str, Any] = {}
            for name, values in rows.columns.items():
                (left if name.startswith(_REST) else found)[name.removeprefix(_REST)] = values
            if _FIRST in found:
                rows, found, left = self._without_totals(rows, found, left)
                rows, found, left = self._without_headers(rows, found, left, matched, others, fields)
            yield replace(rows, columns=found, rest=left)

    def _without_totals(
        self, rows: Rows, found: dict[str, Any], left: dict[str, Any]
    ) -> tuple[Rows, dict[str, Any], dict[str, Any]]:
        """Return rows without those of totals: the first cell says so, and there is no title."""
        is_total = pc.match_substring_regex(found.pop(_FIRST), TOTAL)
        if not pc.any(is_total).as_py():
            return rows, found, left
        if "title" in found:
            is_total = pc.and_(is_total, pc.match_substring_regex(found["title"], r"^[\s-]*$"))
        self.num_totals += int(pc.sum(is_total).as_py() or 0)
        return _filtered(pc.invert(is_total), rows, found, left)

    def _without_headers(
        self,
        rows: Rows,
        found: dict[str, Any],
        left: dict[str, Any],
        matched: Mapping[str, str],
        others: Mapping[str, str],
        fields: Sequence[Field],
    ) -> tuple[Rows, dict[str, Any], dict[str, Any]]:
        """Return rows without those that repeat the header, as files that were put together have them.

        Nor with those of a second header, as templates have it: other names of the fields that every row needs, or
        "Required" and "Optional".
        """
        pairs = [(found[name], matched[name]) for name in found] + [(left[name], others[name]) for name in left]
        again = np.full(len(rows.lines), len(pairs) > 1)
        for values, name in pairs:
            if again.any():
                again &= pc.equal(pc.utf8_trim_whitespace(values), name.strip()).to_numpy(zero_copy_only=False)
        needed = [field for field in fields if field.required and field.name in found]
        second = np.full(len(rows.lines), len(needed) > 1)
        for field in needed:
            if second.any():
                names = pa.array([*field.columns, *_HINTS])
                told = pc.replace_substring(pc.utf8_lower(pc.utf8_trim_whitespace(found[field.name])), " ", "_")
                second &= pc.is_in(told, names).to_numpy(zero_copy_only=False)
        again |= second
        if not again.any():
            return rows, found, left
        self.num_headers += int(again.sum())
        return _filtered(pa.array(~again), rows, found, left)

    def _delimited(
        self,
        batches: Iterable[Lines],
        columns: Mapping[str, int],
        names: Sequence[str],
        num_needed: int | None,
        *,
        has_header: bool,
    ) -> Iterator[Rows]:
        num_fields = num_named(names)
        if self.format == "csv":
            yield from read_csv(
                batches, columns, num_fields, self._delimiter, self.place,
                num_needed=num_needed, skip_blanks=self._has_blanks,
            )  # fmt: skip
        else:
            assert self.format in ("tsv", "trec")
            yield from read_delimited(
                batches, columns, num_fields, self.format, self.place, has_header=has_header, num_needed=num_needed
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

    def _found_format(self, named: Format | None, default: Format | None) -> Format:
        """Return the format that the first line shows, else the one that is named or looks likely."""
        line = self._line().lstrip()
        is_text = bool(default) and self.path.suffix.lower() in (".txt", ".tsv", ".trec")  # of queries, such as "[a"
        if named == "xml" or _XML.match(line):
            return "xml"
        begins = r"\[" if self.path.suffix.lower() in (".json", ".jsonl") else r"\[\s*(\{|$|\]|\[)"
        if not is_text and re.match(begins, line):
            return "json"
        if not is_text and line.startswith("{") and named != "trec":
            return self._json_format(line)
        if named is not None:
            return named
        if default is not None:
            return default
        if "\t" in line:
            return "csv" if line.startswith('"') else "tsv"
        if any(mark in line for mark in ",;|") or re.match(r'"?sep=', line):
            return "csv"
        cure = f"name the file {', '.join(_BY_SUFFIX)} or begin it with a header"
        problem = f"unknown format, and the first line has no separator: {quote(line)}"
        raise InputError(problem, cure=cure, path=self.place, line=1)

    def _json_format(self, line: str) -> Format:
        """Return whether a file that begins with a brace has an object a line or is one document."""
        try:
            value = parse_json(line)
        except ValueError:
            return "json" if _is_open(line) else "jsonl"
        is_alone = pc.sum(pc.not_equal(self._first.text, "")).as_py() == 1
        return "json" if is_alone and holds_records(value) else "jsonl"

    def _find_header(self, named: Format | None, is_header: IsHeader | None) -> None:
        lines = self._first.text[self._start :]
        expected = "\t" if self.format == "tsv" else ""
        found = find_header(lines[:64].to_pylist(), expected, is_header)
        if self._is_lenient and not found.was_found:
            found = header_below_title(lines[:64].to_pylist(), found)
        self._delimiter = found.delimiter
        if found.at:
            at, first = self._start + found.at, self._first
            self._first, self._start = Lines(first.numbers[at:], first.text[at:], first.errors), 0
            self.num_titles = found.num_titles
            if found.num_titles:
                self.notes.append(f"{found.num_titles} lines before the header passed over")
        if self.format == "tsv" and found.delimiter != "\t":
            self.format = "csv"
            self.notes.append(f"separated by {NAMES.get(found.delimiter, repr(found.delimiter))}")
        if self.format == "tsv" and is_header and found.was_found:
            texts = self._first.text[self._start : self._start + _MAX_QUOTED_LINES]
            starts = pc.or_(pc.starts_with(texts, '"'), pc.match_substring(texts, '\t"'))
            if pc.any(starts).as_py() and is_quoted(texts.to_pylist(), texts[0].as_py().count("\t") + 1):
                self.format = "csv"
                self.notes.append("fields in quotes, as Excel writes them")
        texts = self._first.text[self._start : self._start + _MAX_QUOTED_LINES]
        self._has_blanks = self.format == "csv" and are_blanks_before_quotes(texts.to_pylist(), found.delimiter)

    def _read_header(self) -> tuple[str, ...]:
        if self.format == "jsonl":
            return jsonl_keys([self._first], self.place)
        if self.format in ("json", "xml"):
            batches = chain([self._first], self._batches)
            records = xml_records(batches, self.place) if self.format == "xml" else self._document(batches)
            first = next(records, Records([], []))
            self._records = chain([first], records)
            return tuple(dict.fromkeys(name for value in first.values[:1000] for name in value))
        if self.format == "csv":
            lines = self._first.text[self._start :].to_pylist()
            return csv_header(lines, self.place, self._delimiter, skip_blanks=self._has_blanks)
        line = self._line()
        return tuple(line.split("\t") if self.format == "tsv" else line.split())

    def _document(self, batches: Iterable[Lines]) -> Iterator[Records]:
        self.notes.append("one JSON document, whose records are counted as lines")
        texts = []
        for lines in batches:
            if lines.errors:
                raise next(iter(lines.errors))
            texts.append("\n".join(lines.text.to_pylist()))
        return json_records("\n".join(texts), self.place)


def _filtered(
    keep: Any, rows: Rows, found: dict[str, Any], left: dict[str, Any]
) -> tuple[Rows, dict[str, Any], dict[str, Any]]:
    lines = rows.lines[keep.to_numpy(zero_copy_only=False)]
    return (
        replace(rows, lines=lines),
        {name: values.filter(keep) for name, values in found.items()},
        {name: values.filter(keep) for name, values in left.items()},
    )


def _is_open(line: str) -> bool:
    """Return whether a line of JSON that is not valid goes on in the next one."""
    return line.count("{") + line.count("[") > line.count("}") + line.count("]") and not line.rstrip().endswith('"')


def _is_parquet(path: Path) -> bool:
    if path == STANDARD_INPUT or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _named_format(path: Path, default: Format | None) -> Format | None:
    """Return the format that the suffix of `path` names, None if the first line has to."""
    compression = compression_suffix(path)
    suffix = (Path(path.stem) if compression else path).suffix.lower()
    if suffix == ".zip":
        suffix = Path(path.stem).suffix.lower()
        return _BY_SUFFIX.get(suffix)
    if suffix == ".tar":
        check_path(path.with_suffix(""))  # raises
    found = _BY_SUFFIX.get(suffix)
    if found == "parquet" and compression:
        raise InputError("Parquet inside a compressed file", cure="decompress it", path=path)
    if found or suffix in _UNSAID:
        return found
    if default is None:
        cure = f"use one of {', '.join(_BY_SUFFIX)}, plain or with .gz, .bz2, .xz, .zst or .zip after it"
        raise InputError(f"unknown format {suffix!r}", cure=cure, path=path)
    return default
