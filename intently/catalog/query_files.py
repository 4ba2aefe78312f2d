"""Reading queries from a file.

`read_queries` takes, whatever the compression:

- one query a line, without a header: the id is the number of the line;
- `id <tab> query`, without a header;
- TSV, CSV, JSON lines or Parquet with a column `query` (or `text`, as in BEIR's `queries.jsonl`) and, if wanted,
  `query_id` (or `query-id`, `qid`, `_id`, `id`); without an id column the id is the number of the line;
- a file of judgements (one with a column of ad ids): its distinct queries in order of first appearance, with the ids
  that `read_judgements` gives them.

A first line that has a field called `query` or `text` is a header.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from intently.catalog.columns import clean_text
from intently.catalog.fields import Field, match_fields
from intently.catalog.formats import Format, detect_format, read_header, read_rows
from intently.catalog.judgement_files import is_judgements, read_judgements
from intently.catalog.problems import Problems, RowCheck
from intently.catalog.queries import MAX_QUERY_LENGTH, QUERY, QUERY_ID, Queries
from intently.errors import InputError

# In a file of queries alone these names can mean nothing else.
_QUERY_ID = replace(QUERY_ID, aliases=(*QUERY_ID.aliases, "_id", "id"))
_QUERY = replace(QUERY, aliases=(*QUERY.aliases, "text"))


def read_queries(path: str | Path, *, skip_bad: bool = False) -> Queries:
    """Read queries from `path`, in the order of the file.

    Raises InputError for an empty query, an id that is there twice, and a file that cannot be read or has no query;
    with `skip_bad` wrong rows are left out, counted and reported instead.
    """
    path = Path(path)
    format = detect_format(path, "tsv")
    header = read_header(path, format)
    if is_judgements(header):
        judgements = read_judgements(path, skip_bad=skip_bad)
        return Queries(judgements.query_ids, judgements.queries, judgements.num_skipped, judgements.problems)
    columns = None if format != "tsv" or _has_header(header) else _columns_without_header(header, path)
    has_id = _QUERY_ID.name in match_fields(columns or header, [_QUERY_ID.optional()], path)
    return _read(path, format, columns, [_QUERY_ID, _QUERY] if has_id else [_QUERY], Problems(skip_bad=skip_bad))


def _has_header(first_line: Sequence[str]) -> bool:
    names = {name.strip().lower() for name in first_line}
    return not names.isdisjoint(_QUERY.columns)


def _columns_without_header(first_line: Sequence[str], path: Path) -> tuple[str, ...]:
    if len(first_line) > 2:
        cure = "give one query a line, id and query separated by a tab, or a header with a column 'query'"
        raise InputError(f"{len(first_line)} fields and no header", cure=cure, path=path, line=1)
    return ("query_id", "query")[-len(first_line) :]


def _read(
    path: Path, format: Format, header: tuple[str, ...] | None, fields: list[Field], problems: Problems
) -> Queries:
    text_of: dict[str, str] = {}
    for rows in read_rows(path, fields, format, header):
        check = RowCheck(path, rows.lines)
        num_rows = len(rows.lines)
        texts = clean_text(rows.columns.get("query", pa.nulls(num_rows, pa.string())), _QUERY, check, MAX_QUERY_LENGTH)
        if _QUERY_ID in fields:
            ids = clean_text(
                rows.columns.get("query_id", pa.nulls(num_rows, pa.string())), _QUERY_ID, check
            ).to_pylist()
        else:
            ids = [str(line) for line in rows.lines.tolist()]
        again = np.zeros(num_rows, dtype=np.bool_)
        for row, (query_id, text) in enumerate(zip(ids, texts.to_pylist(), strict=True)):
            if check.keep[row]:
                again[row] = query_id in text_of
                text_of.setdefault(query_id, text)
        check.reject(again, "query_id", "an earlier query has the same id", "give every query an id of its own")
        problems.settle(rows.errors + check.errors)
    if not text_of:
        raise InputError("no queries", cure="give one query a line", path=path)
    return Queries(tuple(text_of), tuple(text_of.values()), problems.num_skipped, tuple(problems.first))
