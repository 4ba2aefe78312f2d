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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import fields as fields_of
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from intently.catalog.cleaning import clean_number, clean_text
from intently.catalog.fields import Field, fold_name, match_fields
from intently.catalog.formats import Table
from intently.catalog.header_words import in_english
from intently.catalog.ids import read_ids
from intently.catalog.judgement_names import AD_ID, CLICKS, RELEVANCE, Names
from intently.catalog.logs.columns import Layout, layout_of
from intently.catalog.logs.flat import are_searches, events_of_searches, read_flat
from intently.catalog.logs.pairs import Events, aggregate
from intently.catalog.logs.settings import LogSettings
from intently.catalog.logs.ubi import read_ubi
from intently.catalog.problems import Problems, RowCheck
from intently.catalog.qrels import Judgements, Kind, Qrels, Unclicked
from intently.catalog.queries import MAX_QUERY_LENGTH, QUERY, QUERY_ID, Queries
from intently.catalog.trec_ids import unescape_ids
from intently.errors import InputError

_TREC_COLUMNS = ("query_id", "unused", "ad_id", "relevance")
_GRADES = {"e": "3", "s": "2", "c": "1", "i": "0", "exact": "2", "partial": "1", "irrelevant": "0"}
_GRADES |= {"true": "1", "false": "0"}


def is_judgements(header: Sequence[str]) -> bool:
    """Return whether a file with the column names `header` holds judgements, with query texts or without."""
    # Of what may be no header, so nothing is wrong with it yet.
    names = {each for name in header for each in (fold_name(name), in_english(name))}
    return not (names.isdisjoint(AD_ID.columns) or names.isdisjoint(QUERY.columns + QUERY_ID.columns))


def read_judgements(
    path: str | Path,
    *,
    queries: Queries | None = None,
    columns: Mapping[str, str] | None = None,
    logs: LogSettings | None = None,
    skip_bad: bool = False,
) -> Judgements:
    """Read judgements from `path`; see the module's text for the layouts.

    A repeated pair gets the sum of its clicks, or its highest relevance. `queries` gives the texts of queries
    that the file names by id only, and the ids of those it names by text only. `columns` says of columns what they are
    (`{"clicked": "clicks"}`), where their names do not or contradict each other. `logs` says how clicks of logs count.
    Raises InputError for a value that is
    not a finite number, clicks other than a whole number of at least 0, a query that is not in `queries`, and every
    other fault of a row. With `skip_bad` wrong rows are left out, counted and reported instead.
    """
    pairs = read_pairs(
        Table(path, "tsv", is_header=is_judgements), skip_bad=skip_bad, queries=queries, columns=columns, logs=logs
    )
    if pairs.texts is None:
        cure = "give their texts too: queries=read_queries(...), on the command line --queries"
        raise InputError("names queries by id only", cure=cure, path=path, field="query")
    return Judgements(**{each.name: getattr(pairs.qrels, each.name) for each in fields_of(Qrels)}, queries=pairs.texts)


def read_qrels(path: str | Path, *, columns: Mapping[str, str] | None = None, skip_bad: bool = False) -> Qrels:
    """Read judgements for measuring, for which query ids are enough; otherwise as `read_judgements`."""
    return read_pairs(Table(path, "tsv", is_header=is_judgements), skip_bad=skip_bad, columns=columns).qrels


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Judged pairs, the texts of their queries (None when the file has ids only), and all queries of the file."""

    qrels: Qrels
    texts: tuple[str, ...] | None
    all_queries: tuple[tuple[str, ...], tuple[str, ...] | None]  # ids and texts, also of queries without a click


def read_pairs(
    table: Table,
    *,
    skip_bad: bool,
    queries: Queries | None = None,
    columns: Mapping[str, str] | None = None,
    logs: LogSettings | None = None,
) -> Pairs:
    """Read the judged pairs of a file that is open; see `read_judgements`."""
    if _is_trec(table):
        return _read_judged(table, [QUERY_ID, AD_ID, RELEVANCE], queries, header=_TREC_COLUMNS, skip_bad=skip_bad)
    names = Names.of(table.header, columns, table.place)
    layout = layout_of(names.seen, CLICKS.columns)
    if layout and layout.kind == "ubi":
        return _of_log(read_ubi(table, skip_bad=skip_bad, queries=queries), table.place, logs)
    value = names.value()
    if value is CLICKS and queries is None and not layout and not {*QUERY.columns}.isdisjoint(names.seen):
        layout = None if not {*QUERY_ID.columns}.isdisjoint(names.seen) else Layout("counts")
    if layout and value is not RELEVANCE:
        return _of_log(read_flat(table, layout, names, skip_bad=skip_bad), table.place, logs, queries)
    fields = [names.field(field) for field in (QUERY_ID.optional(), QUERY.optional(), AD_ID)]
    matched = table.match(fields)
    if value is None:
        cure = 'say which column it is: --map-clicks "COLUMN=clicks", or relevance, or event (in Python columns={...})'
        problem = f"the header has neither relevance nor clicks: {', '.join(names.header)[:200]}"
        raise InputError(problem, cure=cure, path=table.place, line=1)
    if "query" not in matched and "query_id" not in matched:
        match_fields(table.header, [QUERY], table.place)  # raises
    wanted = [*(field for field in fields if field.name in matched), names.field(value)]
    return _read_judged(table, [replace(field, required=True) for field in wanted], queries, skip_bad=skip_bad)


def _read_judged(
    table: Table,
    fields: Sequence[Field],
    queries: Queries | None,
    *,
    header: tuple[str, ...] | None = None,
    skip_bad: bool,
) -> Pairs:
    names = [field.name for field in fields]
    key = "query_id" if "query_id" in names else "query"
    known = None if queries is None else pa.array(queries.ids if key == "query_id" else queries.texts, pa.string())
    problems = Problems(skip_bad=skip_bad)
    columns: dict[str, list[Any]] = {field.name: [] for field in fields}
    for rows in table.rows(fields, header):
        check = RowCheck(table.place, rows.lines)
        given = unescape_ids(rows.columns) if header else rows.columns
        if not header and "ad_id" in given and pa.types.is_string(given["ad_id"].type):
            given = {**given, "ad_id": read_ids(given["ad_id"], "ad_id", check)[0]}
        cleaned = {field.name: _clean(given.get(field.name), field, check) for field in fields}
        if known is not None:
            unknown = ~pc.is_in(cleaned[key], known).to_numpy(zero_copy_only=False)
            check.reject(unknown, key, "not among the queries given", "give the queries of these judgements")
        keep = pa.array(check.keep)
        for name, values in cleaned.items():
            columns[name].append(values.filter(keep))
        problems.settle(rows.errors + check.errors)
    problems.finish()
    whole = {name: pa.chunked_array(chunks).combine_chunks() for name, chunks in columns.items() if chunks}
    if not whole or not len(whole["ad_id"]):
        first = f"; first problem: {problems.first[0]}" if problems.first else ""
        raise InputError(f"no judgements{first}", cure="give one judged pair a row", path=table.place)
    keys = whole[key].dictionary_encode()
    query_rows: npt.NDArray[np.int64] = keys.indices.to_numpy().astype(np.int64)
    ids, texts = _ids_and_texts(tuple(keys.dictionary.to_pylist()), query_rows, whole, queries)
    kind: Kind = "clicks" if "clicks" in whole else "relevance"
    if kind == "clicks" and queries is None and {"query", "query_id"} <= whole.keys():
        clicks = whole["clicks"].to_numpy(zero_copy_only=False)
        if are_searches(whole["query_id"], whole["query"], clicks):
            return _of_log(events_of_searches(whole, problems), table.place, None)
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
            "no clicks: every pair has 0", cure="give at least one clicked pair", path=place, field="clicks"
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


def _is_trec(table: Table) -> bool:
    """Return whether a file is TREC qrels, which have no header; its format is that then."""
    if table.format != "tsv" or is_judgements(table.header) or len(values := " ".join(table.header).split()) != 4:
        return False
    if not _is_number(values[3]):
        cure = "name the columns query, ad_id and relevance"
        raise InputError("neither a header nor TREC qrels", cure=cure, path=table.place, line=1)
    table.format = "trec"
    return True


def _of_log(events: Events, place: object, logs: LogSettings | None, queries: Queries | None = None) -> Pairs:
    """Return what a log says of pairs that were clicked, and of others of the same queries."""
    pairs = aggregate(events, logs.position_bias if logs else None)
    ids, texts = pairs.query_ids, pairs.queries if events.are_texts else None
    clicked = pairs.clicks > 0
    if not clicked.any():
        cure = "give at least one clicked pair"
        raise InputError("no clicks: every pair has 0", cure=cure, path=place, field="clicks")
    if texts is None and queries is not None:
        text_of = dict(zip(queries.ids, queries.texts, strict=True))
        if unknown := [query_id for query_id in ids if query_id not in text_of]:
            problem = f"query {unknown[0]!r} is not among the queries given"
            raise InputError(problem, cure="give the queries of these clicks", path=place, field="query_id")
        texts = tuple(text_of[query_id] for query_id in ids)
    used, query_rows = np.unique(pairs.query_rows[clicked], return_inverse=True)
    shown = ~clicked & np.isin(pairs.query_rows, used)
    notes = list(events.notes)
    if pairs.num_repeated:
        notes.append(f"{pairs.num_repeated:,.0f} clicks repeated an earlier one of the same session, and count once")
    if left := len(ids) - len(used):
        notes.append(f"{left:,} queries of the log had no click")
    qrels = Qrels(
        tuple(ids[row] for row in used),
        query_rows.astype(np.int64),
        pairs.ad_ids.filter(pa.array(clicked)),
        pairs.clicks[clicked],
        "clicks",
        events.num_skipped,
        events.problems,
        int((~clicked).sum()),
        Unclicked(
            np.searchsorted(used, pairs.query_rows[shown]),
            pairs.ad_ids.filter(pa.array(shown)),
            pairs.impressions[shown],
        ),
        pairs.weights[clicked] if logs and logs.position_bias is not None else None,
        tuple(notes),
    )
    return Pairs(qrels, None if texts is None else tuple(texts[row] for row in used), (ids, texts))


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
        return clean_text(values, field, check, MAX_QUERY_LENGTH if field.name == "query" else None)
    if pa.types.is_string(values.type):
        values = _grades(values)
        missing = pc.equal(pc.fill_null(values, ""), "")
    else:
        missing = pc.is_null(values)
    check.reject(missing.to_numpy(zero_copy_only=False), field.name, "empty", "give every pair a value")
    if field.name == "relevance":
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
