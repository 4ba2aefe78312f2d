"""Reading judgements: how good an ad is for a query, as somebody judged it (relevance) or as users clicked it.

`read_judgements` takes, whatever the compression, with the columns found by their header:

- `query`, `ad_id` and `relevance` or `clicks`; with a `query_id` too, queries are told apart by their id;
- ESCI examples: `query`, `product_id`, `esci_label` (E, S, C, I are 3, 2, 1, 0);
- WANDS `label.csv`: `query_id`, `product_id`, `label` (Exact, Partial, Irrelevant are 2, 1, 0);
- BEIR `qrels/*.tsv`: `query-id`, `corpus-id`, `score`;
- TREC qrels, without a header: query id, an unused field, ad id, grade, separated by white space; `␣` in an id is a
  blank, as `write_run` writes it.

Grades below 0, which TREC's Web track gives spam, are read as 0: not relevant. Clicks are whole numbers; `clicked` is
read as clicks, and pairs that were shown but never clicked are counted (`num_unclicked`) and left out, because that
nobody clicked does not say that an ad is wrong.

The last three layouts name queries by id only, so give their texts: `queries=read_queries(...)`. For measuring the ids
are enough: `read_qrels`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from dataclasses import fields as fields_of
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from intently.catalog.columns import AD_FIELDS, clean_number, clean_text
from intently.catalog.fields import Field, fold_name, match_fields
from intently.catalog.formats import Table
from intently.catalog.problems import Problems, RowCheck
from intently.catalog.qrels import Judgements, Kind, Qrels
from intently.catalog.queries import MAX_QUERY_LENGTH, QUERY, QUERY_ID, Queries
from intently.catalog.trec_ids import unescape_ids
from intently.errors import InputError

AD_ID = Field("ad_id", aliases=("corpus_id", *AD_FIELDS[0].aliases[:3]), required=True)
_RELEVANCE = Field("relevance", kind="number", aliases=("grade", "score", "esci_label", "label"))
_CLICKS = Field("clicks", kind="number", aliases=("num_clicks", "clicked", "click", "is_click", "is_clicked"))
_TREC_COLUMNS = ("query_id", "unused", "ad_id", "relevance")
_GRADES = {"e": "3", "s": "2", "c": "1", "i": "0", "exact": "2", "partial": "1", "irrelevant": "0"}
_GRADES |= {"true": "1", "false": "0"}


def is_judgements(header: Sequence[str]) -> bool:
    """Return whether a file with the column names `header` holds judgements, with query texts or without."""
    names = {fold_name(name) for name in header}  # of what may be no header, so nothing is wrong with it yet
    return not (names.isdisjoint(AD_ID.columns) or names.isdisjoint(QUERY.columns + QUERY_ID.columns))


def read_judgements(path: str | Path, *, queries: Queries | None = None, skip_bad: bool = False) -> Judgements:
    """Read judgements from `path`; see the module's text for the layouts.

    A repeated pair gets the sum of its clicks, or its highest relevance. `queries` gives the texts of queries
    that the file names by id only, and the ids of those it names by text only. Raises InputError for a value that is
    not a finite number, clicks other than a whole number of at least 0, a query that is not in `queries`, and every
    other fault of a row. With `skip_bad` wrong rows are left out, counted and reported instead.
    """
    pairs = read_pairs(Table(path, "tsv"), skip_bad=skip_bad, queries=queries)
    if pairs.texts is None:
        cure = "give their texts too: queries=read_queries(...), on the command line --queries"
        raise InputError("names queries by id only", cure=cure, path=path, field="query")
    return Judgements(**{each.name: getattr(pairs.qrels, each.name) for each in fields_of(Qrels)}, queries=pairs.texts)


def read_qrels(path: str | Path, *, skip_bad: bool = False) -> Qrels:
    """Read judgements for measuring, for which query ids are enough; otherwise as `read_judgements`."""
    return read_pairs(Table(path, "tsv"), skip_bad=skip_bad, queries=None).qrels


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Judged pairs, the texts of their queries (None when the file has ids only), and all queries of the file."""

    qrels: Qrels
    texts: tuple[str, ...] | None
    all_queries: tuple[tuple[str, ...], tuple[str, ...] | None]  # ids and texts, also of queries without a click


def read_pairs(table: Table, *, skip_bad: bool, queries: Queries | None) -> Pairs:
    """Read the judged pairs of a file that is open; see `read_judgements`."""
    header, fields = _detect_layout(table)
    key = QUERY_ID if QUERY_ID in fields else QUERY
    known = None if queries is None else pa.array(queries.ids if key is QUERY_ID else queries.texts, pa.string())
    problems = Problems(skip_bad=skip_bad)
    columns: dict[str, list[Any]] = {field.name: [] for field in fields}
    for rows in table.rows(fields, header):
        check = RowCheck(table.place, rows.lines)
        given = unescape_ids(rows.columns) if header else rows.columns
        cleaned = {field.name: _clean(given.get(field.name), field, check) for field in fields}
        if known is not None:
            unknown = ~pc.is_in(cleaned[key.name], known).to_numpy(zero_copy_only=False)
            check.reject(unknown, key.name, "not among the queries given", "give the queries of these judgements")
        keep = pa.array(check.keep)
        for name, values in cleaned.items():
            columns[name].append(values.filter(keep))
        problems.settle(rows.errors + check.errors)
    problems.finish()
    whole = {name: pa.chunked_array(chunks).combine_chunks() for name, chunks in columns.items() if chunks}
    if not whole or not len(whole["ad_id"]):
        first = f"; first problem: {problems.first[0]}" if problems.first else ""
        raise InputError(f"no judgements{first}", cure="give one judged pair a row", path=table.place)
    keys = whole[key.name].dictionary_encode()
    query_rows: npt.NDArray[np.int64] = keys.indices.to_numpy().astype(np.int64)
    ids, texts = _ids_and_texts(tuple(keys.dictionary.to_pylist()), query_rows, whole, queries)
    kind: Kind = "clicks" if "clicks" in whole else "relevance"
    query_rows, ad_ids, values = _merge(query_rows, whole["ad_id"], whole[kind], kind)
    qrels = Qrels(ids, query_rows, ad_ids, values, kind, problems.num_skipped, tuple(problems.first))
    if kind == "clicks" and not values.all():
        return _without_unclicked(qrels, texts, table.place)
    return Pairs(qrels, texts, (ids, texts))


def _without_unclicked(qrels: Qrels, texts: tuple[str, ...] | None, place: object) -> Pairs:
    """Return the pairs that were clicked, and of the queries those that have one."""
    clicked = qrels.values > 0
    if not clicked.any():
        raise InputError(
            "no clicks: every value is 0", cure="give at least one clicked pair", path=place, field="clicks"
        )
    used, query_rows = np.unique(qrels.query_rows[clicked], return_inverse=True)
    kept = replace(
        qrels,
        query_ids=tuple(qrels.query_ids[row] for row in used),
        query_rows=query_rows.astype(np.int64),
        ad_ids=qrels.ad_ids.filter(pa.array(clicked)),
        values=qrels.values[clicked],
        num_unclicked=int((~clicked).sum()),
    )
    return Pairs(kept, None if texts is None else tuple(texts[row] for row in used), (qrels.query_ids, texts))


def _ids_and_texts(
    distinct: tuple[str, ...], query_rows: npt.NDArray[np.int64], columns: dict[str, Any], queries: Queries | None
) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
    """Return the ids and texts of the `distinct` (Q,) queries, which are ids if there are any, else texts."""
    if "query_id" not in columns:
        number_of = {text: str(number) for number, text in enumerate(distinct, start=1)}
        id_of = number_of if queries is None else dict(zip(reversed(queries.texts), reversed(queries.ids), strict=True))
        return tuple(id_of[text] for text in distinct), distinct
    if "query" in columns:
        return distinct, _first_texts(query_rows, len(distinct), columns["query"])
    if queries is None:
        return distinct, None
    text_of = dict(zip(queries.ids, queries.texts, strict=True))
    return distinct, tuple(text_of[query_id] for query_id in distinct)


def _detect_layout(table: Table) -> tuple[tuple[str, ...] | None, list[Field]]:
    """Return the columns of a file of judgements without a header line, and its fields."""
    header, place = table.header, table.place
    if table.format == "tsv" and not is_judgements(header) and len(values := " ".join(header).split()) == 4:
        if not _is_number(values[3]):
            cure = "name the columns query, ad_id and relevance"
            raise InputError("neither a header nor TREC qrels", cure=cure, path=place, line=1)
        table.format = "trec"
        return _TREC_COLUMNS, [QUERY_ID, AD_ID, _RELEVANCE]
    matched = table.match([QUERY_ID.optional(), QUERY.optional(), AD_ID])
    value = _value_field(header, place)
    if "query" not in matched and "query_id" not in matched:
        match_fields(header, [QUERY], place)  # raises
    keys = [field for field in (QUERY_ID, QUERY) if field.name in matched]
    return None, [*keys, AD_ID, value]


def _value_field(header: Sequence[str], place: object) -> Field:
    """Return whether relevance or clicks are given. Raises InputError where columns contradict each other."""
    names = [name for name in header if name.strip()]
    grades = [name for name in names if fold_name(name) in _RELEVANCE.columns]
    clicks = [name for name in names if fold_name(name) in _CLICKS.columns]
    if not grades and not clicks:
        cure = "give one of the two columns"
        raise InputError("the header has neither relevance nor clicks", cure=cure, path=place, line=1)
    if grades and clicks:
        problem = f"the header has both relevance and clicks: '{grades[0]}' and '{clicks[0]}'"
        cure = f"keep '{clicks[0]}' to learn from clicks, or '{grades[0]}' to learn from grades, and remove the other"
        raise InputError(problem, cure=cure, path=place, line=1)
    field, found = (_RELEVANCE, grades) if grades else (_CLICKS, clicks)
    if len(found) > 1 and field.name not in map(fold_name, found):
        problem = f"'{found[0]}' and '{found[1]}' may both be the {field.name}"
        cure = f"rename the right one to {field.name}"
        raise InputError(problem, cure=cure, path=place, line=1)
    return field


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _clean(values: Any, field: Field, check: RowCheck) -> Any:
    if values is None:
        values = pa.nulls(len(check.lines), pa.string())
    if field.kind == "text":
        return clean_text(values, field, check, MAX_QUERY_LENGTH if field is QUERY else None)
    if pa.types.is_string(values.type):
        values = _grades(values)
        missing = pc.equal(pc.fill_null(values, ""), "")
    else:
        missing = pc.is_null(values)
    check.reject(missing.to_numpy(zero_copy_only=False), field.name, "empty", "give every pair a value")
    if field is _RELEVANCE:
        return pc.max_element_wise(clean_number(values, field, check, lowest=-np.inf), 0.0, skip_nulls=False)
    counts = clean_number(values, field, check)
    parts = pc.fill_null(pc.not_equal(pc.floor(counts), counts), False).to_numpy(zero_copy_only=False)
    cure = "give whole numbers; if these are weights, name the column relevance"
    check.reject(parts, field.name, lambda row: f"{counts[row].as_py():g} clicks", cure)
    return counts


def _grades(values: Any) -> Any:
    """Return `values` (N,) with the labels of ESCI and WANDS replaced by their grades."""
    texts = pc.utf8_trim_whitespace(values)
    place = pc.index_in(pc.utf8_lower(texts), pa.array(list(_GRADES)))
    return pc.if_else(pc.is_valid(place), pa.array(list(_GRADES.values())).take(place), texts)


def _merge(
    query_rows: npt.NDArray[np.int64], ad_ids: Any, values: Any, kind: Kind
) -> tuple[npt.NDArray[np.int64], Any, npt.NDArray[np.float64]]:
    """Return every (query, ad) once, in order of first appearance: clicks summed, relevance at its highest."""
    ads = ad_ids.dictionary_encode()
    grades: npt.NDArray[np.float64] = values.to_numpy(zero_copy_only=False)
    keys = query_rows * len(ads.dictionary) + ads.indices.to_numpy()
    distinct, first, group = np.unique(keys, return_index=True, return_inverse=True)
    if len(distinct) == len(keys):
        return query_rows, ad_ids, grades
    merged = np.zeros(len(distinct))
    (np.add if kind == "clicks" else np.maximum).at(merged, group, grades)
    order = np.argsort(first)
    rows = first[order]
    return query_rows[rows], ad_ids.take(pa.array(rows)), merged[order]


def _first_texts(query_rows: npt.NDArray[np.int64], num_queries: int, texts: Any) -> tuple[str, ...]:
    first = np.full(num_queries, len(query_rows))
    np.minimum.at(first, query_rows, np.arange(len(query_rows)))
    return tuple(texts.take(pa.array(first)).to_pylist())
