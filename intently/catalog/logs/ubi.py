"""Reading OpenSearch's User Behavior Insights: JSON lines of `ubi_queries`, of `ubi_events`, or of both in one file.

An event has a `query_id`, an `action_name`, who did it (`session_id` or `client_id`), and in `event_attributes` the
`object` (`object_id`: the ad) and the `position` (`ordinal`). A query has a `query_id`, its `user_query`, and in
`query_response_hit_ids` the ads that it was answered with, best first: each is an impression at that position. Records
may be wrapped as OpenSearch dumps them, in `_source`. Texts of queries come from the file's own queries, from events
that have a `user_query`, or from `queries`.
"""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from intently.catalog.formats import Table
from intently.catalog.logs.columns import what_happened
from intently.catalog.logs.pairs import Events
from intently.catalog.problems import Problems, RowCheck
from intently.catalog.queries import MAX_QUERY_LENGTH, Queries
from intently.errors import InputError

_Row = tuple[str, str, str, float, str]  # query id, ad id, session, position, what happened
_MAX_ID = 256


def read_ubi(table: Table, *, skip_bad: bool, queries: Queries | None) -> Events:
    """Read the events of a file of UBI; raises InputError as `read_judgements` does."""
    text_of = dict(zip(queries.ids, queries.texts, strict=True)) if queries else {}
    own: dict[str, str] = {}
    rows: list[_Row] = []
    others: Counter[str] = Counter()
    problems = Problems(skip_bad=skip_bad)
    for batch in table.rows([], rest=True):
        check = RowCheck(table.place, batch.lines)
        names, columns = list(batch.rest), [values.to_pylist() for values in batch.rest.values()]
        for at, cells in enumerate(zip(*columns, strict=True)):
            record = {name: json.loads(cell) for name, cell in zip(names, cells, strict=True) if cell is not None}
            problem = _read(_unwrapped(record), rows, own, others)
            if problem:
                wrong = np.zeros(len(batch.lines), dtype=np.bool_)
                wrong[at] = True
                check.reject(wrong, *problem)
        problems.settle(batch.errors + check.errors)
    texts = text_of | own
    known = [row for row in rows if row[0] in texts]
    problems.finish()
    if not rows:
        raise InputError("no event names an ad", cure="give event_attributes.object.object_id", path=table.place)
    if not known:
        cure = "give the file of ubi_queries too: --queries (queries=read_queries(...)), or join both files into one"
        raise InputError("names queries by id only", cure=cure, path=table.place, field="query_id")
    notes = []
    if left := len(rows) - len(known):
        notes.append(f"{left:,} events left out: their query_id is not among the queries")
    if others:
        told = ", ".join(f"{name} {number:,}" for name, number in others.most_common(5))
        notes.append(
            f"{others.total():,} events left out that tell of no ad, or are no impression, click or conversion: {told}"
        )
    query_ids, ad_ids, sessions, positions, happened = zip(*known, strict=True)
    kinds = np.array(happened, dtype=object)

    def of_kind(kind: str) -> Any:
        return (kinds == kind).astype(np.float64)

    return Events(
        pa.array([texts[each] for each in query_ids], pa.string()),
        pa.array(ad_ids, pa.string()),
        pa.array(sessions, pa.string()),
        np.array(positions, dtype=np.float64),
        of_kind("click"),
        of_kind("impression"),
        of_kind("conversion"),
        problems.num_skipped,
        tuple(problems.first),
        tuple(notes),
    )


def _unwrapped(record: Mapping[str, Any]) -> Mapping[str, Any]:
    inside = record.get("_source")
    return inside if isinstance(inside, dict) else record


def _read(
    record: Mapping[str, Any], rows: list[_Row], texts: dict[str, str], others: Counter[str]
) -> tuple[str, str, str] | None:
    """Add what a record says to `rows` and `texts`; return field, problem and cure if it says nothing."""
    query_id, text = _text(record.get("query_id")), _text(record.get("user_query"))
    if not query_id:
        return "query_id", "empty", "give every record the id of its query"
    if text:
        if len(text) > MAX_QUERY_LENGTH:
            return "user_query", f"{len(text):,} characters, over the limit of {MAX_QUERY_LENGTH:,}", "shorten it"
        texts.setdefault(query_id, text)
    session = _text(record.get("session_id")) or _text(record.get("client_id")) or query_id
    if "action_name" not in record:
        hits = record.get("query_response_hit_ids")
        ids = hits.split(",") if isinstance(hits, str) else hits if isinstance(hits, list) else []
        shown = [_text(each) for each in ids]
        rows += [(query_id, ad, session, rank, "impression") for rank, ad in enumerate(shown, 1) if ad]
        return None if text else ("user_query", "empty", "give every query its text")
    action = _text(record["action_name"])
    attributes = record.get("event_attributes")
    thing = attributes.get("object") if isinstance(attributes, dict) else None
    place = attributes.get("position") if isinstance(attributes, dict) else None
    ad_id = _text(thing.get("object_id")) if isinstance(thing, dict) else ""
    happened = what_happened(action)
    if not happened or not ad_id:
        others[action or "without a name"] += 1
        return None
    if len(ad_id) > _MAX_ID:
        return "object_id", f"{len(ad_id):,} characters, over the limit of {_MAX_ID}", "shorten it"
    ordinal = place.get("ordinal") if isinstance(place, dict) else None
    position = float(ordinal) if isinstance(ordinal, int | float) and not isinstance(ordinal, bool) else np.nan
    rows.append((query_id, ad_id, session, position if position >= 0 else np.nan, happened))
    return None


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else str(value) if type(value) is int else ""
