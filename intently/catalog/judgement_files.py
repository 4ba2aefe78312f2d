"""Reading judgements: how good an ad is for a query, as somebody judged it (relevance) or as users clicked it.

`read_judgements` takes, whatever the compression, with the columns found by their header:

- `query`, `ad_id` and `relevance` or `clicks`; with a `query_id` too, queries are told apart by their id;
- ESCI examples: `query`, `product_id`, `esci_label` (E, S, C, I are 3, 2, 1, 0);
- WANDS `label.csv`: `query_id`, `product_id`, `label` (Exact, Partial, Irrelevant are 2, 1, 0);
- BEIR `qrels/*.tsv`: `query-id`, `corpus-id`, `score`;
- TREC qrels, without a header: query id, an unused field, ad id, grade, separated by white space.

The last three name queries by id only, so their texts have to be given: `queries=read_queries(...)`. For measuring the
ids are enough: `read_qrels`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from intently.catalog.columns import AD_FIELDS, clean_number, clean_text
from intently.catalog.fields import Field, match_fields
from intently.catalog.formats import Format, detect_format, read_header, read_rows
from intently.catalog.problems import Problems, RowCheck
from intently.catalog.qrels import Judgements, Kind, Qrels
from intently.catalog.queries import MAX_QUERY_LENGTH, QUERY, QUERY_ID, Queries
from intently.errors import InputError

AD_ID = Field("ad_id", aliases=("corpus-id", "corpus_id", *AD_FIELDS[0].aliases[:3]), required=True)
_RELEVANCE = Field("relevance", kind="number", aliases=("grade", "score", "esci_label", "label"))
_CLICKS = Field("clicks", kind="number", aliases=("num_clicks",))
_TREC_COLUMNS = ("query_id", "unused", "ad_id", "relevance")
_GRADES = {"e": "3", "s": "2", "c": "1", "i": "0", "exact": "2", "partial": "1", "irrelevant": "0"}


def is_judgements(header: Sequence[str]) -> bool:
    """Return whether a file with the column names `header` holds judgements, with query texts or without."""
    names = {name.strip().lower() for name in header}  # of what may be no header, so nothing is wrong with it yet
    return not (names.isdisjoint(AD_ID.columns) or names.isdisjoint(QUERY.columns + QUERY_ID.columns))


def read_judgements(path: str | Path, *, queries: Queries | None = None, skip_bad: bool = False) -> Judgements:
    """Read judgements from `path`; see the module's text for the layouts.

    A pair that is there twice has the sum of its clicks, or its highest relevance. `queries` gives the texts of queries
    that the file names by id only, and the ids of those it names by text only. Raises InputError for a value that is
    not a finite number of at least 0, a query that is not in `queries`, and what else is wrong with a row; with
    `skip_bad` wrong rows are left out, counted and reported instead.
    """
    path = Path(path)
    pairs = _read_pairs(path, skip_bad=skip_bad, queries=queries)
    if pairs.texts is None:
        cure = "give their texts too: queries=read_queries(...)"
        raise InputError("names queries by id only", cure=cure, path=path, field="query")
    q = pairs.qrels
    return Judgements(
        q.query_ids, q.query_rows, q.ad_ids, q.values, q.kind, q.num_skipped, q.problems, queries=pairs.texts
    )


def read_qrels(path: str | Path, *, skip_bad: bool = False) -> Qrels:
    """Read judgements for measuring, for which query ids are enough; otherwise as `read_judgements`."""
    return _read_pairs(Path(path), skip_bad=skip_bad, queries=None).qrels


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    qrels: Qrels
    texts: tuple[str, ...] | None  # None when there are ids only


def _read_pairs(path: Path, *, skip_bad: bool, queries: Queries | None) -> _Pairs:
    format, header, fields = _detect_layout(path)
    key = QUERY_ID if QUERY_ID in fields else QUERY
    known = None if queries is None else pa.array(queries.ids if key is QUERY_ID else queries.texts, pa.string())
    problems = Problems(skip_bad=skip_bad)
    columns: dict[str, list[Any]] = {field.name: [] for field in fields}
    for rows in read_rows(path, fields, format, header):
        check = RowCheck(path, rows.lines)
        cleaned = {field.name: _clean(rows.columns.get(field.name), field, check) for field in fields}
        if known is not None:
            unknown = ~pc.is_in(cleaned[key.name], known).to_numpy(zero_copy_only=False)
            check.reject(unknown, key.name, "not among the queries given", "give the queries of these judgements")
        keep = pa.array(check.keep)
        for name, values in cleaned.items():
            columns[name].append(values.filter(keep))
        problems.settle(rows.errors + check.errors)
    whole = {name: pa.chunked_array(chunks).combine_chunks() for name, chunks in columns.items() if chunks}
    if not whole or not len(whole["ad_id"]):
        first = f"; first problem: {problems.first[0]}" if problems.first else ""
        raise InputError(f"no judgements{first}", cure="give one judged pair a row", path=path)
    keys = whole[key.name].dictionary_encode()
    query_rows: npt.NDArray[np.int64] = keys.indices.to_numpy().astype(np.int64)
    ids, texts = _ids_and_texts(tuple(keys.dictionary.to_pylist()), query_rows, whole, queries)
    kind: Kind = "clicks" if "clicks" in whole else "relevance"
    merged = _merge(query_rows, whole["ad_id"], whole[kind], kind)
    return _Pairs(Qrels(ids, *merged, kind, problems.num_skipped, tuple(problems.first)), texts)


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


def _detect_layout(path: Path) -> tuple[Format, tuple[str, ...] | None, list[Field]]:
    """Return the format, the columns when there is no header line, and the fields of a file of judgements."""
    format = detect_format(path, "tsv")
    header = read_header(path, format)
    if format == "tsv" and not is_judgements(header) and len(fields := " ".join(header).split()) == 4:
        if not _is_number(fields[3]):
            raise InputError(
                "neither a header nor TREC qrels", cure="name the columns query, ad_id and relevance", path=path, line=1
            )
        return "trec", _TREC_COLUMNS, [QUERY_ID, AD_ID, _RELEVANCE]
    matched = match_fields(header, [QUERY_ID.optional(), QUERY.optional(), AD_ID, _RELEVANCE, _CLICKS], path)
    if ("relevance" in matched) == ("clicks" in matched):
        has = "both relevance and clicks" if "clicks" in matched else "neither relevance nor clicks"
        raise InputError(f"the header has {has}", cure="give exactly one of the two columns", path=path, line=1)
    value = _RELEVANCE if "relevance" in matched else _CLICKS
    if "query" not in matched and "query_id" not in matched:
        match_fields(header, [QUERY], path)  # raises
    keys = [field for field in (QUERY_ID, QUERY) if field.name in matched]
    return format, None, [*keys, AD_ID, value]


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
    return clean_number(values, field, check)


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
