"""Reading ads from a file.

Formats and compressions: see `intently.catalog.formats`. Only `ad_id` and `title` are required. Each field goes by the
names in `intently.catalog.columns.AD_FIELDS`, so that these public layouts are read as they come:

- ESCI `shopping_queries_dataset_products.parquet`: bullet points become `landing_text`. The same product is there once
  a locale, so keep one locale first.
- WANDS `product.csv`, which is tab-separated.
- BEIR `corpus.jsonl`: a document without a title takes the first 100 characters of its text, cut at a space.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from intently.catalog.catalog import Catalog, duplicate_error, find_duplicates
from intently.catalog.columns import AD_FIELDS, clean_ads, concat_ads
from intently.catalog.fields import match_fields
from intently.catalog.formats import detect_format, read_header, read_rows
from intently.catalog.problems import Problems, RowCheck
from intently.errors import InputError


@dataclass(frozen=True, slots=True, eq=False)
class ReadResult:
    """A catalogue read from a file, and what became of the file's rows."""

    catalog: Catalog
    num_rows: int  # in the file, good and bad
    num_skipped: int
    problems: tuple[str, ...]  # of the first 20 skipped rows
    ignored_columns: tuple[str, ...]


def read_ads(path: str | Path, *, skip_bad: bool = False, progress: Callable[[int], None] | None = None) -> ReadResult:
    """Read a catalogue of ads from `path`.

    The first wrong row raises InputError, naming file, line, field and cure; with `skip_bad` wrong rows are left out,
    counted and reported instead. Duplicates of an `ad_id` are looked for last; the first ad with the id is kept. A file
    that cannot be read at all, lacks a required column or has no valid ad raises InputError always. `progress` is
    called with the number of rows read so far.
    """
    path = Path(path)
    format = detect_format(path)
    header = read_header(path, format)
    matched = match_fields(header, AD_FIELDS, path) if format != "jsonl" else _match_optional(header, path)
    problems = Problems(skip_bad=skip_bad)
    tables: list[pa.Table] = []
    lines = [np.zeros(0, dtype=np.int64)]
    num_rows = 0
    for rows in read_rows(path, AD_FIELDS, format):
        columns = rows.columns
        if matched.get("ad_id") == "_id":
            columns = columns | {"title": _title_or_text(columns)}
        check = RowCheck(path, rows.lines)
        tables.append(clean_ads(columns, check))
        lines.append(rows.lines[check.keep])
        num_rows += len(rows.lines) + len(rows.errors)
        problems.settle(rows.errors + check.errors)
        if progress is not None:
            progress(num_rows)
    table = _without_duplicates(concat_ads(tables), np.concatenate(lines), path, problems)
    if not table.num_rows:
        first = f"; first problem: {problems.first[0]}" if problems.first else ""
        raise InputError(f"no ads{first}", cure="give a row for each ad under the header", path=path)
    ignored = tuple(name for name in header if name not in matched.values())
    return ReadResult(Catalog(table), num_rows, problems.num_skipped, tuple(problems.first), ignored)


def _match_optional(header: tuple[str, ...], path: Path) -> dict[str, str]:
    """Match JSON keys, of which any may be missing in the first objects; rows without one are errors of their own."""
    return match_fields(header, [field.optional() for field in AD_FIELDS], path)


def _title_or_text(columns: dict[str, Any]) -> Any:
    empty = pa.nulls(len(columns["ad_id"]), pa.string())
    titles = pc.utf8_trim_whitespace(pc.fill_null(columns.get("title", empty), ""))
    texts = pc.utf8_trim_whitespace(pc.fill_null(columns.get("description", empty), ""))
    start = pc.utf8_slice_codeunits(texts, 0, 101)
    cut = pc.replace_substring_regex(start, r"(?s)^(.{40,100})\s.*$", r"\1")
    short = pc.less_equal(pc.utf8_length(texts), 100)
    return pc.if_else(pc.equal(titles, ""), pc.if_else(short, texts, pc.utf8_slice_codeunits(cut, 0, 100)), titles)


def _without_duplicates(table: pa.Table, lines: Any, path: Path, problems: Problems) -> pa.Table:
    again, first = find_duplicates(table["ad_id"])
    if not len(again):
        return table
    problems.settle(
        [
            duplicate_error(table["ad_id"][int(row)].as_py(), path, int(lines[row]), int(lines[earlier]))
            for row, earlier in zip(again, first, strict=True)
        ]
    )
    keep = np.ones(table.num_rows, dtype=np.bool_)
    keep[again] = False
    return table.filter(pa.array(keep))
