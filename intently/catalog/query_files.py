"""Reading queries from a file.

`read_queries` takes, whatever the compression:

- one query a line, without a header: the id is the number of the line, and blank lines are passed over;
- `id <tab> query`, without a header; `query <tab> count`, where a second field is always a whole number and some first
  one holds several words, is read as one query a line, without the counts;
- TSV, CSV, JSON lines or Parquet with a column `query` (or `text`, as in BEIR's `queries.jsonl`) and, if wanted,
  `query_id` (or `qid`, `_id`, `id`); without an id column the id is the number of the line;
- reports of search terms and keywords, as ad platforms, search consoles and keyword planners export them;
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

from intently.catalog.cleaning import clean_text
from intently.catalog.fields import Field, fold_name
from intently.catalog.formats import Table
from intently.catalog.header_words import english_names, in_english
from intently.catalog.judgement_files import is_judgements, read_pairs
from intently.catalog.problems import Problems, RowCheck
from intently.catalog.queries import MAX_QUERY_LENGTH, QUERY, QUERY_ID, Queries
from intently.catalog.reading import Reading
from intently.errors import InputError

# In a file of queries alone these names can mean nothing else.
_QUERY_ID = replace(QUERY_ID, aliases=(*QUERY_ID.aliases, "_id", "id"))
_QUERY = replace(
    QUERY,
    aliases=(
        *QUERY.aliases, "text", "q", "search_query", "keyword", "queries", "top_queries", "search_terms",
        "searched_for",
    ),
)  # fmt: skip
# Columns that reports have beside queries, by which their header is told from a query.
_OF_REPORTS = frozenset(
    ("clicks", "impressions", "impr", "position", "ctr", "match_type", "campaign", "ad_group", "currency", "cost",
     "avg_monthly_searches", "competition", "conversions", "search_volume", "count")
)  # fmt: skip
_TOTAL = r"(?i)^(totals?|gesamt|summe|total général|总计|合计|小计)\s*[:：]"
_QUERY_ID_NAMES = frozenset(_QUERY_ID.columns)
_LINES_LOOKED_AT = 100


def read_queries(path: str | Path, *, skip_bad: bool = False) -> Queries:
    """Read queries from `path`, in the order of the file.

    Raises InputError for an empty query, a repeated id, and a file that cannot be read or does not have any query;
    with `skip_bad` wrong rows are left out, counted and reported instead. `-` is standard input.
    """
    table = Table(path, "tsv", is_header=_is_header)
    if is_judgements(table.header):
        pairs = read_pairs(table, skip_bad=skip_bad, queries=None)
        ids, texts = pairs.all_queries
        if texts is None:
            cure = "name a file with their texts"
            raise InputError("names queries by id only", cure=cure, path=table.place, field="query")
        return Queries(ids, texts, pairs.qrels.num_skipped, pairs.qrels.problems)
    table.reading = Reading(usual=_english(table.header))
    columns = None if table.format != "tsv" or _has_header(table.header) else _columns_without_header(table)
    has_id = not _QUERY_ID_NAMES.isdisjoint(map(fold_name, columns or table.header))
    return _read(table, columns, [_QUERY_ID, _QUERY] if has_id else [_QUERY], Problems(skip_bad=skip_bad))


def _is_header(names: Sequence[str]) -> bool:
    return is_judgements(names) or (_has_header(names) and _is_report(names))


def _has_header(first_line: Sequence[str]) -> bool:
    return not {*map(fold_name, first_line), *_english(first_line).values()}.isdisjoint(_QUERY.columns)


def _is_report(names: Sequence[str]) -> bool:
    return not _OF_REPORTS.isdisjoint(map(in_english, names))


def _english(names: Sequence[str]) -> dict[str, str]:
    """Return folded name → English name of columns in other languages; reports of keywords are of queries."""
    found = dict(english_names(names, [_QUERY_ID, _QUERY]))
    keywords = [fold_name(name) for name in names if in_english(name) == "keywords"] if _is_report(names) else []
    return found | dict.fromkeys(keywords, "keyword")


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
        elif "query" in rows.columns and pa.types.is_string(rows.columns["query"].type):
            is_total = pc.match_substring_regex(pc.fill_null(rows.columns["query"], ""), _TOTAL)
            keep = pc.invert(is_total)
            rows = replace(
                rows,
                lines=rows.lines[keep.to_numpy(zero_copy_only=False)],
                columns={name: values.filter(keep) for name, values in rows.columns.items()},
            )
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
