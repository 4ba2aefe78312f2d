"""Reading queries from a file.

`read_queries` takes, whatever the compression:

- one query a line, without a header: the id is the number of the line, and blank lines are passed over;
- `id <tab> query`, without a header; `query <tab> count`, where a second field is always a whole number and some first
  one holds several words, is read as one query a line, without the counts;
- TSV, CSV, JSON lines or Parquet with a column `query` (or `text`, as in BEIR's `queries.jsonl`) and, if wanted,
  `query_id` (or `qid`, `_id`, `id`); without an id column the id is the number of the line;
- a file of judgements (one with a column of ad ids): its distinct queries in order of first appearance, with the ids
  that `read_judgements` gives them.

A first line that has a field called `query` or `text` is a header.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from intently.catalog.columns import clean_text
from intently.catalog.fields import Field, fold_name
from intently.catalog.formats import Table
from intently.catalog.judgement_files import is_judgements, read_pairs
from intently.catalog.problems import Problems, RowCheck
from intently.catalog.queries import MAX_QUERY_LENGTH, QUERY, QUERY_ID, Queries
from intently.errors import InputError

# In a file of queries alone these names can mean nothing else.
_QUERY_ID = replace(QUERY_ID, aliases=(*QUERY_ID.aliases, "_id", "id"))
_QUERY = replace(QUERY, aliases=(*QUERY.aliases, "text", "q", "search_term", "search_query", "keyword"))
_QUERY_ID_NAMES = frozenset(_QUERY_ID.columns)
_LINES_LOOKED_AT = 100


def read_queries(path: str | Path, *, skip_bad: bool = False) -> Queries:
    """Read queries from `path`, in the order of the file.

    Raises InputError for an empty query, a repeated id, and a file that cannot be read or does not have any query;
    with `skip_bad` wrong rows are left out, counted and reported instead. `-` is standard input.
    """
    table = Table(path, "tsv", is_header=is_judgements)
    if is_judgements(table.header):
        pairs = read_pairs(table, skip_bad=skip_bad, queries=None)
        ids, texts = pairs.all_queries
        if texts is None:
            cure = "name a file with their texts"
            raise InputError("names queries by id only", cure=cure, path=table.place, field="query")
        return Queries(ids, texts, pairs.qrels.num_skipped, pairs.qrels.problems)
    columns = None if table.format != "tsv" or _has_header(table.header) else _columns_without_header(table)
    has_id = not _QUERY_ID_NAMES.isdisjoint(map(fold_name, columns or table.header))
    return _read(table, columns, [_QUERY_ID, _QUERY] if has_id else [_QUERY], Problems(skip_bad=skip_bad))


def _has_header(first_line: Sequence[str]) -> bool:
    return not {fold_name(name) for name in first_line}.isdisjoint(_QUERY.columns)


def _columns_without_header(table: Table) -> tuple[str, ...]:
    num_fields = len(table.header)
    if num_fields > 2:
        cure = "give one query a line, id and query separated by a tab, or a header with a column 'query'"
        raise InputError(f"{num_fields} fields and no header", cure=cure, path=table.place, line=1)
    if num_fields == 1:
        return ("query",)
    rows = [line.split("\t") for line in table.first_lines(_LINES_LOOKED_AT)]
    if all(len(row) == 2 and re.fullmatch(r"\s*[0-9]{1,15}\s*", row[1]) for row in rows):
        if any(len(row[0].split()) > 1 for row in rows):
            return ("query", "count")
        if any(not re.fullmatch(r"\s*[A-Za-z]{0,2}[0-9]+\s*", row[0]) for row in rows):
            cure = "begin the file with a header: query<TAB>count, or query_id<TAB>query"
            raise InputError("either id and query, or query and count", cure=cure, path=table.place, line=1)
    return ("query_id", "query")


def _read(table: Table, header: tuple[str, ...] | None, fields: list[Field], problems: Problems) -> Queries:
    text_of: dict[str, str] = {}
    for rows in table.rows(fields, header):
        if header == ("query",):  # a blank line between queries, or at the end, is none
            filled = pc.not_equal(pc.utf8_trim_whitespace(rows.columns["query"]), "")
            lines = rows.lines[filled.to_numpy(zero_copy_only=False)]
            rows = replace(rows, lines=lines, columns={"query": rows.columns["query"].filter(filled)})
        check = RowCheck(table.place, rows.lines)
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
    problems.finish()
    if not text_of:
        raise InputError("no queries", cure="give one query a line", path=table.place)
    return Queries(tuple(text_of), tuple(text_of.values()), problems.num_skipped, tuple(problems.first))
