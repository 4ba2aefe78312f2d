"""One file of ads, read: what it is, what its columns became, and the ads in it.

bytes → lines or records (`formats`) → layout (`layouts`) → columns of fields → status, bid, lists → cleaned ads
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from intently.arrays import IntArray, Mask
from intently.catalog.amounts import UNITS
from intently.catalog.cleaning import clean_ads
from intently.catalog.columns import AD_FIELDS, SCHEMA, concat_ads
from intently.catalog.feed_values import FeedValues
from intently.catalog.fields import BATCH_ROWS, Field, Rows, fold_name, match_fields
from intently.catalog.formats import FORMATS, Format, Table
from intently.catalog.given import BID_MICROS, MATCH_TYPE, joined, said_in
from intently.catalog.header_words import english_names, in_english
from intently.catalog.layouts import LAYOUTS, NAMES, PLAIN, Layout, Reshaped, recognized
from intently.catalog.payload import payload_name, with_rest
from intently.catalog.problems import Errors, Problems, RowCheck
from intently.catalog.reading import IGNORED, Reading
from intently.catalog.records import Records, rows_of
from intently.catalog.serving import SERVING_FIELDS, SERVING_NAMES
from intently.catalog.smells import inside, smells
from intently.errors import InputError

_MORE_FIELDS = (
    *SERVING_FIELDS,
    Field(BID_MICROS, "number", ("cpc_bid_micros", "max_cpc_micros", "bid_amount_micros", "default_max_cpc_micros")),
    Field(MATCH_TYPE, "word", ("keyword_match_type", "keyword_type", "criterion_type", "keyword_matching")),
)
FEED_FIELDS = (*AD_FIELDS, *_MORE_FIELDS)
_BECAME = {BID_MICROS: "bid", MATCH_TYPE: "keywords"}  # field of a file → field of ads
_CURRENCY = re.compile(rf"(_in)?_({'|'.join(UNITS)})$")
_LOG_FIELDS = (  # of each of which a log of clicks has one
    frozenset(("query", "query_id", "query_text", "search_query", "user_query")),
    frozenset(("ad_id", "doc_id", "product_id", "object_id", "item_id")),
)


@dataclass(frozen=True, slots=True, eq=False)
class Feed:
    """The ads of one file, and all that is to be said about the file."""

    place: str
    format: str  # of the file: "csv"
    layout: str  # the name of the export, "plain" if it is none that is known
    ads: pa.Table  # (N, …) in `SCHEMA`
    lines: IntArray  # (N,)
    num_rows: int  # good and bad
    columns: tuple[tuple[str, str], ...]  # column in the file → what it became: a field, "payload", "status", "ignored"
    loud: tuple[str, ...]  # columns that nobody read and whose names say that somebody should
    held: tuple[tuple[str, str, str, int], ...]  # column, value, status, number of ads: why ads are not active
    notes: tuple[str, ...]
    warnings: tuple[str, ...]  # what is in the file and is not used as its owner may think
    num_with_markup: int
    given: Mapping[str, Mask]  # of each field that the file has, for which ads (N,) it says something

    def columns_that(self, became: str) -> tuple[str, ...]:
        """Return the columns that became this."""
        return tuple(name for name, each in self.columns if each == became)


def is_ads_header(names: Sequence[str], fields: Sequence[Field] = AD_FIELDS) -> bool:
    """Return whether a row names the columns of ads: an id and a title, or those of a known export.

    With `fields` of which the id alone is required, any other of them stands for the title.
    """
    folded = frozenset(fold_name(name) for name in names)
    has_all = all(not folded.isdisjoint(field.columns) for field in fields if field.required)
    num_found = sum(not folded.isdisjoint(field.columns) for field in fields)
    return (has_all and num_found > 1) or recognized(folded) is not PLAIN


def read_feed(
    path: str | Path,
    reading: Reading,
    problems: Problems,
    progress: Callable[[int], None] | None = None,
    *,
    partial: bool = False,
) -> Feed:
    """Read one file of ads; its wrong rows go to `problems`. Raises `InputError` for a file that has no ads.

    With `partial` only the `ad_id` is required, and an empty value says nothing (`Feed.given`).
    """
    fields = [each if each.name == "ad_id" else each.optional() for each in FEED_FIELDS] if partial else FEED_FIELDS
    wanted = fields[: len(AD_FIELDS)]
    table = _opened(path, reading, fields)
    layout = _layout_of(table, reading)
    reshaped: Reshaped | None = None
    if layout.reshape:
        reshaped, batches = _reshaped(table, layout)
        header: Sequence[str] = list(dict.fromkeys(name for record in reshaped.records for name in record))
        matched = _matched_records(header, table, fields)
    else:
        header, matched = table.header, _matched(table, fields)
        if "keywords" not in matched:
            fields = [each for each in fields if each.name != MATCH_TYPE]
            matched.pop(MATCH_TYPE, None)
        _check(table, matched)
        batches = table.rows(fields, rest=True)
    values = FeedValues(table, matched, reading)
    tables: list[pa.Table] = []
    rests: list[pa.Table] = []
    lines = [np.zeros(0, dtype=np.int64)]
    given: list[tuple[int, dict[str, Mask]]] = []
    num_rows = num_with_markup = 0
    for rows in batches:
        check = RowCheck(table.place, rows.lines)
        rest, columns = values.read(rows, check)
        tables.append(clean_ads(columns, check, wanted))
        told = said_in(rows.columns) if partial else dict.fromkeys(columns, check.keep)
        given.append((int(check.keep.sum()), {name: mask[check.keep] for name, mask in told.items()}))
        rests.append(rest.filter(pa.array(check.keep)))
        lines.append(rows.lines[check.keep])
        num_rows += len(rows.lines) + len(rows.errors)
        num_with_markup += int((check.had_markup & check.keep).sum())
        problems.settle(rows.errors + check.errors)
        if progress is not None:
            progress(num_rows)
    values.amounts.check_currencies()
    ads = concat_ads(tables)
    rests = [rest.select([name for name in rest.column_names if name not in values.unfit]) for rest in rests]
    typed = table.format in ("jsonl", "json", "parquet") and not reshaped
    rests = [values.amounts.with_prices(rest, in_json=typed) for rest in rests]
    payloads = with_rest(ads["payload"], rests, in_json=typed, path=table.place)
    ads = ads.set_column(ads.column_names.index("payload"), SCHEMA.field("payload"), payloads)
    kept = {name for rest in rests for name in rest.column_names if name}
    became = _became(table, header, matched, kept, reshaped, fields)
    return Feed(
        str(table.place),
        table.format,
        layout.name,
        ads,
        np.concatenate(lines),
        num_rows,
        became,
        _loud(became, rests if typed else (), table, reading),
        tuple((*key, count) for key, count in values.held.most_common()),
        (*_notes(table, layout, reshaped), *values.notes()),
        (*(reshaped.warnings() if reshaped else ()), *values.warnings()),
        num_with_markup,
        joined(given, ads, has_payload=bool(kept), partial=partial),
    )


def _loud(
    became: Sequence[tuple[str, str]], rests: Sequence[pa.Table], table: Table, reading: Reading
) -> tuple[str, ...]:
    """Return the columns, and the names inside their objects, that nobody read and whose names smell."""
    unread = [
        name for name, what in became if what in ("payload", "ignored") and fold_name(name) not in reading.columns
    ]
    found = [name for name in unread if smells(table.reading.columns.get(fold_name(name), name))]
    for name in unread:
        parts = [rest[payload_name(name)] for rest in rests[:1] if payload_name(name) in rest.column_names]
        found += [each for part in parts for each in inside(name, part)]
    return tuple(found)


def _opened(path: str | Path, reading: Reading, fields: Sequence[Field]) -> Table:
    if reading.format and reading.format not in (*FORMATS, *NAMES):
        cure = f"use one of {', '.join((*FORMATS, *NAMES))}"
        raise InputError(f"unknown format {reading.format!r}", cure=cure, field="format")
    format: Format | None = next((each for each in FORMATS if each == reading.format), None)

    def is_header(names: Sequence[str]) -> bool:
        known = tuple(reading.columns.get(fold_name(name)) or in_english(name) for name in names)
        return is_ads_header(names, fields) or is_ads_header(known, fields)

    table = Table(path, format=format, reading=reading, is_header=is_header)
    if english := english_names(table.header, fields):
        said = {column: target for column, target in reading.columns.items() if column not in reading.usual}
        table.reading = replace(reading, columns=said, usual={**english, **reading.usual})
        table.notes.append("columns in another language: " + ", ".join(f"{a} is {b}" for a, b in english.items()))
    if bid := _bid_with_currency(table):
        table.reading = replace(table.reading, columns={**table.reading.columns, fold_name(bid): "bid"})
        table.notes.append(f"'{bid}' is the bid")
    return table


def _bid_with_currency(table: Table) -> str:
    """Return the one column named after a bid and a currency; "" if several are, none is, or a plain bid exists."""
    names = {name for field in AD_FIELDS if field.name == "bid" for name in field.columns}
    if "bid" in table.reading.columns.values() or not names.isdisjoint(map(fold_name, table.header)):
        return ""
    found = [name for name in table.header if _CURRENCY.sub("", fold_name(name)) in names]
    return found[0] if len(found) == 1 and fold_name(found[0]) not in table.reading.columns else ""


def _layout_of(table: Table, reading: Reading) -> Layout:
    """Return what the header is of; raise `InputError` for an export without ads."""
    named = next((layout for layout in (*LAYOUTS, PLAIN) if layout.name == reading.format), None)
    columns = table.reading.columns
    names = frozenset(columns.get(fold_name(name), fold_name(name)) for name in table.header)
    layout = named or recognized(names)
    if layout.refusal:
        raise InputError(layout.refusal[0], cure=layout.refusal[1], path=table.place, line=table.header_line)
    has_title = any(name in names for field in AD_FIELDS if field.name == "title" for name in field.columns)
    is_log = all(not names.isdisjoint(each) for each in _LOG_FIELDS)
    if layout is PLAIN and is_log and not has_title:
        problem, cure = (
            "a log of clicks or judgements, which has no titles",
            "pass it as --clicks beside the file of ads",
        )
        raise InputError(problem, cure=cure, path=table.place, field="title")
    return layout


def _check(table: Table, matched: dict[str, str]) -> None:
    """Raise `InputError` where two columns may be the title or the bid."""
    if fold_name(matched.get("title", "")) == "name":
        others = [name for name in table.header if re.search("title|headline", fold_name(name))]
        if others:
            problem = f"both '{matched['title']}' and '{others[0]}' may be the title"
            cure = f'rename the one that users read to title, or say --map "{others[0]}=title"'
            raise InputError(problem, cure=cure, path=table.place, field="title")
    bid = next(field for field in AD_FIELDS if field.name == "bid")
    bids = [name for name in table.header if fold_name(name) in bid.columns]
    bids += [matched[BID_MICROS]] if BID_MICROS in matched else []
    if len(bids) > 1 and fold_name(bids[0]) != "bid" and "bid" not in map(fold_name, bids):
        if "bid" in table.reading.columns.values():
            return
        problem = f"'{bids[0]}' and '{bids[1]}' may both be the bid"
        cure = f'say which: --map "{bids[0]}=bid"'
        raise InputError(problem, cure=cure, path=table.place, line=table.header_line, field="bid")


def _matched(table: Table, fields: Sequence[Field]) -> dict[str, str]:
    try:
        return table.match(fields)
    except InputError as error:
        if error.field != "title":
            raise
        cure = f"{error.cure}; a file that only changes known ads goes to intently update --delta"
        raise InputError(error.problem, cure=cure, path=table.place, line=error.line, field="title") from None


def _matched_records(header: Sequence[str], table: Table, fields: Sequence[Field]) -> dict[str, str]:
    matched = match_fields(header, [field.optional() for field in table.mapped(fields)], table.place)
    if "title" not in matched and header and any(field.name == "title" and field.required for field in fields):
        cure = 'add a column title, or name one that is there: --map "Ad Group Name=title"'
        raise InputError("the export has no titles of ads", cure=cure, path=table.place, line=1, field="title")
    return matched


def _reshaped(table: Table, layout: Layout) -> tuple[Reshaped, Iterator[Rows]]:
    """Return the ads of a whole export, and the same as batches of rows."""
    assert layout.reshape
    folded = Counter(fold_name(name) for name in table.header if name.strip())
    if twice := next((name for name, number in folded.items() if number > 1 and smells(name)), None):
        problem = f"the header names a column twice: {twice}"
        raise InputError(problem, cure="keep one of them", path=table.place, line=table.header_line, field=twice)
    lines: list[int] = []
    rows: list[dict[str, str]] = []
    errors = Errors()
    for batch in table.rows((), rest=True):
        errors += batch.errors
        lines += batch.lines.tolist()
        names = list(batch.rest)
        columns = [["" if cell is None else cell for cell in batch.rest[name].to_pylist()] for name in names]
        rows += [dict(zip(names, cells, strict=True)) for cells in zip(*columns, strict=True)]
    done = layout.reshape(lines, rows)
    for line, error in done.wrong:
        errors.append(InputError(error.problem, cure=error.cure, path=table.place, line=line, field=error.field))
    fields = table.mapped(FEED_FIELDS)

    def batches() -> Iterator[Rows]:
        for start in range(0, max(len(done.lines), 1), BATCH_ROWS):
            part = slice(start, start + BATCH_ROWS)
            records = Records(done.lines[part], done.records[part], errors if not start else Errors())
            yield rows_of(records, fields, table.place, rest=True, in_json=False)

    return done, batches()


def _notes(table: Table, layout: Layout, reshaped: Reshaped | None) -> Iterator[str]:
    if layout is not PLAIN:
        yield f"{'an' if layout.title[0] in 'AEIO' else 'a'} {layout.title}"
    yield from table.notes
    if table.num_totals:
        yield f"{table.num_totals:,} rows of totals passed over"
    if table.num_headers:
        yield f"{table.num_headers:,} rows that repeat the header, or are a second one, passed over"
    if table.num_short:
        yield f"{table.num_short:,} rows without their last fields, which were read as empty"
    if reshaped:
        for kind, number in reshaped.others.items():
            yield f"{number:,} {kind}"


def _became(
    table: Table,
    header: Sequence[str],
    matched: dict[str, str],
    kept: set[str],
    reshaped: Reshaped | None,
    fields: Sequence[Field],
) -> tuple[tuple[str, str], ...]:
    """Return what each column became."""
    field_of = {column: name for name, column in matched.items()}
    found: list[tuple[str, str]] = []
    folded = [fold_name(name) for name in header]
    for name in (name for name in header if name.strip()):
        renamed = table.reading.columns.get(fold_name(name), name)
        is_once = reshaped is not None or folded.count(fold_name(name)) == 1
        if name == "payload" and reshaped:
            continue
        if name in field_of:
            found.append((name, _in_words(field_of[name])))
        elif renamed == IGNORED:
            found.append((name, IGNORED))
        else:
            found.append((name, "payload" if payload_name(renamed) in kept and is_once else "ignored"))
    known = {payload_name(table.reading.columns.get(fold_name(name), name)) for name in header}
    known |= {"currency"}
    later = [] if reshaped else [name for name in sorted(kept) if name not in known]  # of later objects of JSON lines
    read = {name: _in_words(each.name) for each in fields if each.name not in matched for name in each.columns}
    return (*found, *((name, read.get(name, "payload")) for name in later))


def _in_words(field: str) -> str:
    return (
        "its own payload" if field == "payload" else "status" if field in SERVING_NAMES else _BECAME.get(field, field)
    )
