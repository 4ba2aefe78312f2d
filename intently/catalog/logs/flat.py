"""Reading logs that are tables: events, counts by query and ad, and search-term reports of advertising platforms."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from intently.arrays import Float64Array
from intently.catalog.cleaning import clean_number, clean_text
from intently.catalog.fields import Field, fold_name
from intently.catalog.formats import TOTAL, Table
from intently.catalog.header_words import in_english
from intently.catalog.ids import read_ids
from intently.catalog.judgement_names import AD_ID, CLICKS, Names
from intently.catalog.logs.columns import (
    BOT,
    CONVERSIONS,
    COUNT,
    EVENT,
    EXAMPLES,
    IMPRESSIONS,
    NO_QUERIES,
    POSITION,
    SESSION,
    Layout,
    what_happened,
)
from intently.catalog.logs.pairs import Events
from intently.catalog.masks import mask_of
from intently.catalog.problems import Problems, RowCheck, quote
from intently.catalog.queries import MAX_QUERY_LENGTH, QUERY, QUERY_ID
from intently.catalog.serving_words import FLAGS
from intently.errors import InputError
from intently.text.normalize import normalize

_NONE = ("", "-", "--", "—")  # how reports write that there is no number
_WHOLE = "give whole numbers; if these are weights, name the column relevance"
_BOT = [word for word, flag in FLAGS.items() if flag]
_TEXTS = ("queries", "ad_ids", "sessions", "query_ids")
_YES = {word: str(int(flag)) for word, flag in FLAGS.items() if not re.fullmatch(r"-?[\d.]+", word)}


def read_flat(table: Table, layout: Layout, names: Names, *, skip_bad: bool) -> Events:
    """Read the events of a table; raises InputError as `read_judgements` does."""
    query, query_id, ad_id, clicks = (names.field(field) for field in (QUERY, QUERY_ID, AD_ID, CLICKS))
    optional = [query, query_id, *map(names.field, (SESSION, POSITION, IMPRESSIONS, CONVERSIONS, BOT, COUNT))]
    happens = names.field(EVENT) if layout.kind == "events" else clicks
    wanted = [*(field.optional() for field in optional), ad_id, happens]
    _check_ad(table, ad_id)
    matched = table.match(wanted)
    key = query if "query" in matched else query_id
    if key.name not in matched:
        table.match([replace(query, required=True)])  # raises
    has_ids = key is query and "query_id" in matched
    problems = Problems(skip_bad=skip_bad)
    parts: dict[str, list[Any]] = {}
    others: Counter[str] = Counter()
    num_totals = num_without_ad = num_bots = num_kept_back = num_ids = num_contradicting = 0
    # Names in a European language: a comma comes before decimals, and points may part thousands.
    has_comma = any(name.isascii() or max(name) < "\u2e80" for name in names.english)
    for rows in table.rows([field.optional() for field in wanted]):
        num_rows = len(rows.lines)
        check = RowCheck(table.place, rows.lines)
        given = _with_all(rows.columns, wanted, num_rows)
        is_event = np.ones(num_rows, dtype=np.bool_)
        if layout.is_report:
            is_total = mask_of(pc.match_substring_regex(pc.fill_null(given[key.name], ""), TOTAL))
            is_total &= mask_of(pc.is_in(pc.utf8_trim_whitespace(pc.fill_null(given["ad_id"], "")), pa.array(_NONE)))
            num_totals += int(is_total.sum())
            is_event &= ~is_total
        is_bot = mask_of(pc.is_in(pc.utf8_lower(pc.utf8_trim_whitespace(given["bot"])), pa.array(_BOT))) & is_event
        num_bots += int(is_bot.sum())
        is_event &= ~is_bot
        is_kept_back = mask_of(pc.is_in(given[key.name], pa.array(NO_QUERIES))) & is_event
        num_kept_back += int(is_kept_back.sum())
        is_event &= ~is_kept_back
        happened: list[str] = []
        if layout.kind == "events":
            told = pc.utf8_trim_whitespace(pc.fill_null(given["event"], "")).to_pylist()
            happened = [what_happened(name) or "" for name in told]
            strange = np.array([not one for one in happened], dtype=np.bool_)
            others.update(name for name, is_strange in zip(told, strange.tolist(), strict=True) if is_strange)
            is_event &= ~strange
            # A search event or the like may tell its query and have no ad.
            no_ad = is_event & mask_of(pc.equal(pc.utf8_trim_whitespace(pc.fill_null(given["ad_id"], "")), ""))
            no_ad &= np.array([one == "impression" for one in happened], dtype=np.bool_)
            num_without_ad += int(no_ad.sum())
            is_event &= ~no_ad
        chosen = pa.array(is_event)
        check = RowCheck(table.place, rows.lines[is_event])
        given = {name: values.filter(chosen) for name, values in given.items()}
        ids, num_changed = read_ids(given["ad_id"], "ad_id", check)
        num_ids += num_changed
        cleaned: dict[str, Any] = {
            "queries": clean_text(
                given[key.name], replace(key, required=True), check, MAX_QUERY_LENGTH if key is query else None
            ),
            "ad_ids": clean_text(ids, ad_id, check),
            "sessions": clean_text(given["session"], SESSION, check),
            "query_ids": clean_text(given["query_id"], query_id.optional(), check),
            "positions": _numbers(given["position"], POSITION, check, np.nan, has_comma=has_comma),
            "conversions": _numbers(given["conversions"], CONVERSIONS, check, 0.0, has_comma=has_comma),
        }
        if layout.kind == "events":
            kinds = np.array(happened, dtype=object)[is_event]
            counts = _numbers(given["count"], COUNT, check, 1.0, has_comma=has_comma)
            _reject_parts(counts, COUNT, check)
            for name, kind in (("clicks", "click"), ("impressions", "impression"), ("conversions", "conversion")):
                cleaned[name] = _is(kinds, kind) * counts
        else:
            counts = _counts(given["clicks"], clicks, check, has_comma=has_comma)
            cleaned["clicks"] = counts
            once = np.where(counts > 0, counts, 1.0)
            shown = _numbers(given["impressions"], IMPRESSIONS, check, np.nan, has_comma=has_comma)
            _reject_parts(shown, IMPRESSIONS, check)
            num_contradicting += int((counts > shown).sum())
            cleaned["impressions"] = np.where(np.isnan(shown), once, shown) if "impressions" in matched else once
        for name, values in cleaned.items():
            parts.setdefault(name, []).append(
                values[check.keep] if isinstance(values, np.ndarray) else values.filter(pa.array(check.keep))
            )
        problems.settle(rows.errors + check.errors)
    problems.finish()
    if not parts or not sum(map(len, parts["ad_ids"])):
        _raise_nothing(table, others, problems)
    texts = {name: pa.chunked_array(parts[name], pa.string()).combine_chunks() for name in _TEXTS}
    numbers = {name: np.concatenate(values) for name, values in parts.items() if name not in texts}
    if has_ids and "session" not in matched and are_searches(texts["query_ids"], texts["queries"], numbers["clicks"]):
        texts["sessions"] = texts["query_ids"]
    if not has_ids:
        del texts["query_ids"]
    positions: Float64Array = numbers["positions"]
    if (positions == 0).any():
        numbers["positions"] = positions + 1  # counted from 0
    notes = []
    if others:
        told = ", ".join(f"{name or 'without a name'} {number:,}" for name, number in others.most_common(5))
        notes.append(f"{others.total():,} events left out that are neither impression, click nor conversion: {told}")
    if num_totals:
        notes.append(f"{num_totals:,} rows of totals left out")
    if num_bots:
        notes.append(f"{num_bots:,} rows left out that are marked as of bots, or as invalid")
    if num_kept_back:
        notes.append(f"{num_kept_back:,} rows left out without a query: NULL, (not set), (other)")
    if num_ids:
        notes.append(f"{num_ids:,} ids without what a spreadsheet or data frame added to them (=, ', .0)")
    if num_contradicting:
        notes.append(f"{num_contradicting:,} rows with more clicks than impressions")
    if unread := names.unread():
        more = f" and {len(unread) - 8} more" if len(unread) > 8 else ""
        notes.append(f"columns not used: {', '.join(unread[:8])}{more}")
    if num_without_ad:
        notes.append(f"{num_without_ad:,} impressions left out that name no ad")
    return Events(
        **texts,
        **numbers,
        num_skipped=problems.num_skipped,
        problems=tuple(problems.first),
        notes=tuple(notes),
        are_texts=key is query,
    )


def are_searches(query_ids: pa.StringArray, texts: pa.StringArray, clicks: Float64Array) -> bool:
    """Return whether ids (E,) of queries are those of single searches: a text has several, and no row many clicks."""
    if clicks.max(initial=0) > 1:
        return False
    return len(query_ids.unique()) > len({normalize(text) for text in texts.unique().to_pylist()})


def events_of_searches(columns: Mapping[str, Any], problems: Problems) -> Events:
    """Return the events of a table of `query`, `query_id`, `ad_id` and `clicks` whose ids are those of searches."""
    clicks = columns["clicks"].to_numpy(zero_copy_only=False)
    return Events(
        columns["query"],
        columns["ad_id"],
        columns["query_id"],
        np.full(len(clicks), np.nan),
        clicks,
        np.ones(len(clicks)),
        np.zeros(len(clicks)),
        problems.num_skipped,
        tuple(problems.first),
        query_ids=columns["query_id"],
    )


def _check_ad(table: Table, ad_id: Field) -> None:
    """Raise InputError for a report that says which group of ads was clicked, but not which ad."""
    names = {fold_name(name): name for name in table.header}
    if not names.keys().isdisjoint(ad_id.columns):
        return
    names |= {in_english(name): name for name in table.header}
    group = next(
        (names[name] for name in ("ad_group_id", "ad_group", "ad_group_name", "campaign") if name in names), None
    )
    if group:
        problem = f"names no ad, only '{group}'"
        cure = (
            "add the column 'Ad ID' to the report; or, where your ads are named by it, say so: "
            f'--map-clicks "{group}=ad_id" (columns={{"{group}": "ad_id"}} in Python)'
        )
        raise InputError(problem, cure=cure, path=table.place, line=1, field="ad_id")


def _raise_nothing(table: Table, others: Mapping[str, int], problems: Problems) -> None:
    if others:
        told = ", ".join(quote(name) for name in list(others)[:5])
        cure = f"call them {EXAMPLES} and the like"
        raise InputError(f"no event is one that is understood: {told}", cure=cure, path=table.place, field="event")
    first = f"; first problem: {problems.first[0]}" if problems.first else ""
    raise InputError(f"no events{first}", cure="give an event, or a pair of a query and an ad, a row", path=table.place)


def _with_all(columns: Mapping[str, Any], wanted: Sequence[Field], num_rows: int) -> dict[str, Any]:
    return {field.name: columns.get(field.name, pa.nulls(num_rows, pa.string())) for field in wanted}


def _is(kinds: Any, kind: str) -> Float64Array:
    found: Float64Array = (kinds == kind).astype(np.float64)
    return found


def _counts(values: Any, field: Field, check: RowCheck, *, has_comma: bool) -> Float64Array:
    """Return how often each ad (N,) was clicked, or whether; rejects what is missing or no whole number."""
    if pa.types.is_string(values.type):
        at = pc.index_in(pc.utf8_lower(pc.utf8_trim_whitespace(values)), pa.array(list(_YES)))
        values = pc.if_else(pc.is_valid(at), pa.array(list(_YES.values())).take(at), values)
    counts = _numbers(values, field, check, np.nan, has_comma=has_comma)
    check.reject(np.isnan(counts), field.name, "empty", "give every row a number, 0 if nobody clicked")
    _reject_parts(counts, field, check)
    return counts


def _reject_parts(counts: Float64Array, field: Field, check: RowCheck) -> None:
    parts = (np.floor(counts) != counts) & ~np.isnan(counts)
    check.reject(parts, field.name, lambda row: f"{counts[row]:g} {field.name}", _WHOLE)


def _numbers(values: Any, field: Field, check: RowCheck, missing: float, *, has_comma: bool) -> Float64Array:
    """Return numbers (N,) of at least 0, `missing` where there is none; "1,204" is one with a separator.

    With `has_comma`, points part thousands and a comma comes before decimals: "1.204,5".
    """
    if pa.types.is_string(values.type):
        texts = pc.utf8_lower(pc.utf8_trim_whitespace(pc.fill_null(values, "")))
        texts = pc.if_else(pc.is_in(texts, pa.array(_NONE)), None, texts)
        parting = "[.,'\u00a0\u202f ]" if has_comma else "[,'\u00a0\u202f ]"
        decimals = r"(,\d{1,2})?" if has_comma else r"(\.\d+)?"
        is_parted = pc.match_substring_regex(texts, rf"^\d{{1,3}}({parting}\d{{3}})+{decimals}$")
        plain = pc.replace_substring_regex(texts, rf"{parting}(\d{{3}})", r"\1")
        texts = pc.if_else(pc.fill_null(is_parted, False), plain, texts)
        values = pc.replace_substring(texts, ",", ".") if has_comma else texts
    numbers = clean_number(values, field, check)
    found: Float64Array = pc.fill_null(numbers.cast(pa.float64()), missing).to_numpy(zero_copy_only=False)
    return found
