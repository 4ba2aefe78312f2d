"""One file of ads, read: what it is, what its columns became, and the ads in it.

bytes → lines or records (`formats`) → layout (`layouts`) → columns of fields → status, bid, lists → cleaned ads
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from intently.arrays import IntArray, Mask
from intently.catalog.amounts import Decimals, read_amounts
from intently.catalog.columns import AD_FIELDS, SCHEMA, clean_ads, concat_ads, split_lists
from intently.catalog.fields import BATCH_ROWS, Field, Rows, fold_name, match_fields
from intently.catalog.formats import FORMATS, Format, Table
from intently.catalog.given import BID_MICROS, MATCH_TYPE, NEGATIVES, joined, said_in
from intently.catalog.header_words import english_names, in_english
from intently.catalog.ids import NO_VALUE, read_ids
from intently.catalog.keywords import joined_negatives, read_keywords, with_types
from intently.catalog.layouts import LAYOUTS, NAMES, PLAIN, Layout, Reshaped, recognized
from intently.catalog.payload import payload_name, rest_of, with_rest
from intently.catalog.problems import Errors, Problems, RowCheck, quote
from intently.catalog.reading import IGNORED, Reading
from intently.catalog.records import Records, as_amounts, rows_of, to_json
from intently.catalog.serving import SERVING_FIELDS, SERVING_NAMES, status_of
from intently.catalog.smells import inside, smells
from intently.errors import InputError

_MORE_FIELDS = (
    *SERVING_FIELDS,
    Field(BID_MICROS, "number", ("cpc_bid_micros", "max_cpc_micros", "bid_amount_micros", "default_max_cpc_micros")),
    Field(MATCH_TYPE, "word", ("keyword_match_type", "keyword_type", "criterion_type", "keyword_matching")),
)
FEED_FIELDS = (*AD_FIELDS, *_MORE_FIELDS)
_BECAME = {BID_MICROS: "bid", MATCH_TYPE: "keywords"}  # field of a file → field of ads
_PRICES = re.compile(r"(^|_)(price|cost|msrp|rrp)($|_amount$|_value$)")
_MICROS_FROM = 10_000  # no click costs as much
_MAX_CURRENCIES = 20  # of a column, looked at
_DAMAGED = {  # what is wrong with titles → how it shows
    "show that UTF-8 was read as another encoding before": "Ã[\u0080-\u00bf\u0152-\u2122]|Â[\u00a0-\u00bf]|â€|ï¿½|锟斤拷",
    "have characters that an earlier export lost": "\ufffd",
    "are formulas of a spreadsheet": r"^=[A-Z]+\(",
}
_NO_TITLE = rf"(?i)^(-+|–+|—+|\.+|\?+|#ref!|#value!|#name\?|#div/0!|#null!|#num!)$|{NO_VALUE}"
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
    if "keywords" not in match_fields(table.header, [each.optional() for each in table.mapped(fields)], table.place):
        fields = [each for each in fields if each.name != MATCH_TYPE]
    reshaped: Reshaped | None = None
    if layout.reshape:
        reshaped, batches = _reshaped(table, layout)
        header: Sequence[str] = list(dict.fromkeys(name for record in reshaped.records for name in record))
        matched = _matched_records(header, table, fields)
    else:
        header, matched = table.header, table.match(fields)
        _check(table, matched)
        batches = table.rows(fields, rest=True)
    state = _State(table, matched, reading)
    tables: list[pa.Table] = []
    rests: list[pa.Table] = []
    lines = [np.zeros(0, dtype=np.int64)]
    given: list[tuple[int, dict[str, Mask]]] = []
    num_rows = num_with_markup = 0
    for rows in batches:
        check = RowCheck(table.place, rows.lines)
        rest, columns = state.read(rows, check)
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
    state.check_currencies()
    ads = concat_ads(tables)
    rests = [rest.select([name for name in rest.column_names if name not in state.unfit]) for rest in rests]
    typed = table.format in ("jsonl", "json", "parquet") and not reshaped
    rests = [state.with_prices(rest, in_json=typed) for rest in rests]
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
        tuple((*key, count) for key, count in state.held.most_common()),
        (*_notes(table, layout, reshaped), *state.notes()),
        (*(reshaped.notes if reshaped else ()), *state.warnings()),
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
    return table


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


def _matched_records(header: Sequence[str], table: Table, fields: Sequence[Field]) -> dict[str, str]:
    matched = match_fields(header, [field.optional() for field in table.mapped(fields)], table.place)
    if "title" not in matched and header and any(field.name == "title" and field.required for field in fields):
        cure = 'add a column title, or name one that is there: --map "Ad Group Name=title"'
        raise InputError("the export has no titles of ads", cure=cure, path=table.place, line=1, field="title")
    return matched


def _reshaped(table: Table, layout: Layout) -> tuple[Reshaped, Iterator[Rows]]:
    """Return the ads of a whole export, and the same as batches of rows."""
    assert layout.reshape
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


class _State:
    """What is known of a file from the batches of it that were read so far."""

    def __init__(self, table: Table, matched: dict[str, str], reading: Reading) -> None:
        self.matched, self._table, self._today = matched, table, reading.today or date.today()
        self.unfit: set[str] = set()
        self.held: Counter[tuple[str, str, str]] = Counter()
        self._reading = reading
        self._decimals: dict[str, Decimals] = {}
        self._match_types: Counter[str] = Counter()
        self._num_negatives = self._num_unmarked_ids = 0
        self._no_values: Counter[str] = Counter()
        self._damaged: Counter[str] = Counter()
        self._examples: dict[str, str] = {}
        self._currencies: set[str] = set()  # of a column of them
        self._bids: list[float] = []  # the lowest of each batch
        self._as_text: set[str] = set()  # prices that stay text
        self._is_typed = table.format in ("jsonl", "json", "parquet")

    def read(self, rows: Rows, check: RowCheck) -> tuple[pa.Table, dict[str, Any]]:
        """Return the payload columns and the fields of a batch, whose status, bid and keywords have been read."""
        columns, rest = self._with_values(rows)
        if "ad_id" in columns:
            columns["ad_id"], num_changed = read_ids(columns["ad_id"], "ad_id", check)
            self._num_unmarked_ids += num_changed
        if self.matched.get("ad_id") == "_id":
            columns["title"] = _title_or_text(columns)
        for name in SERVING_NAMES & columns.keys():
            column = fold_name(self.matched.get(name, name))
            rest.setdefault(self._table.reading.columns.get(column, column), self._shown(columns[name]))
        if "title" in columns:
            titles = pc.utf8_trim_whitespace(pc.fill_null(columns["title"], ""))
            wrong = pc.match_substring_regex(titles, _NO_TITLE).to_numpy(zero_copy_only=False)
            check.reject(
                wrong, "title", lambda row: f"{quote(titles[row].as_py())} stands for no title", "give every row one"
            )
            self._look_at(titles)
        status_of(columns, check, self._today, self.matched, self.held)
        self._read_bids(columns, check)
        negatives = self._read_keywords(columns, check)
        if negatives is not None:
            columns[NEGATIVES] = negatives
        if "currency" in rest and len(self._currencies) < _MAX_CURRENCIES:
            self._currencies |= {text for text in rest["currency"].unique().to_pylist() if text and text.strip(' "')}
        table, unfit = rest_of(rest, len(rows.lines))
        self.unfit |= unfit
        return table, columns

    def _with_values(self, rows: Rows) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the columns of fields and the others, without what stands for no value: NULL, N/A, nan."""
        columns, rest = dict(rows.columns), dict(rows.rest)
        others = {"ad_id", "title", "status", *SERVING_NAMES}
        for kept, names in ((columns, columns.keys() - others), (rest, filter(_PRICES.search, list(rest)))):
            for name in sorted(names):
                if not pa.types.is_string(kept[name].type):
                    continue
                is_none = pc.match_substring_regex(pc.utf8_trim_whitespace(kept[name]), NO_VALUE)
                if number := pc.sum(is_none).as_py():
                    kept[name] = pc.if_else(is_none, "", kept[name])
                    self._no_values[self.matched.get(name, name)] += number
        return columns, rest

    def _look_at(self, titles: Any) -> None:
        """Count titles that an earlier export damaged: nobody can say what they were."""
        for kind, pattern in _DAMAGED.items():
            if number := pc.sum(found := pc.match_substring_regex(titles, pattern)).as_py():
                self._damaged[kind] += number
                self._examples.setdefault(kind, titles.filter(found)[0].as_py())

    def _shown(self, values: Any) -> Any:
        if not self._is_typed:
            return values
        return pa.array(
            [None if v is None else v if v in ("true", "false") else to_json(v) for v in values.to_pylist()],
            pa.string(),
        )

    def _read_bids(self, columns: dict[str, Any], check: RowCheck) -> None:
        for name in ("bid", BID_MICROS):
            if name in columns and pa.types.is_string(columns[name].type):
                columns[name] = read_amounts(columns[name], name, check, self._decimals_of(name))
        if BID_MICROS in columns:
            micros = pc.divide(pc.cast(columns.pop(BID_MICROS), pa.float64()), 1e6)
            columns["bid"] = pc.coalesce(columns["bid"], micros) if "bid" in columns else micros
        if "bid" in columns and (lowest := pc.min(columns["bid"].cast(pa.float64())).as_py()) is not None:
            self._bids.append(lowest)

    def _decimals_of(self, name: str) -> Decimals:
        mark = {"point": ".", "comma": ",", "": ""}[self._reading.decimal]
        return self._decimals.setdefault(name, Decimals(mark))

    def _read_keywords(self, columns: dict[str, Any], check: RowCheck) -> Any:
        negatives, own = columns.pop(NEGATIVES, None), None
        if negatives is not None and pa.types.is_string(negatives.type):
            negatives = split_lists(negatives, "keywords")
        types = columns.pop(MATCH_TYPE, None)
        if types is not None and "keywords" in columns:
            columns["keywords"] = with_types(columns["keywords"], types, check)
        if "keywords" in columns:
            columns["keywords"], own = read_keywords(columns["keywords"], self._match_types)
        if negatives is None and own is None:
            return None
        joined = joined_negatives(negatives, own)
        self._num_negatives += sum(map(bool, joined.to_pylist()))
        return joined

    def with_prices(self, rest: pa.Table, *, in_json: bool) -> pa.Table:
        """Return payload columns whose prices are numbers, with a column of their currency."""
        for name in rest.column_names:
            if not _PRICES.search(name):
                continue
            texts = rest[name].combine_chunks()
            if in_json:
                texts = pc.replace_substring_regex(as_amounts(texts), r'^"(.*)"$', r"\1")
            state = self._decimals_of(name)
            check = RowCheck(self._table.place, np.arange(len(texts), dtype=np.int64))
            numbers = read_amounts(texts, name, check, state)
            if check.errors or name in self._as_text or len(state.currencies) > 1:
                self._as_text.add(name)
                continue
            shown = [None if v is None else f"{v:.10f}".rstrip("0").rstrip(".") for v in numbers.to_pylist()]
            rest = rest.set_column(rest.column_names.index(name), name, pa.array(shown, pa.string()))
            currency = next(iter(state.currencies), "")
            if len(currency) == 3 and "currency" not in rest.column_names:
                value = to_json(currency) if in_json else currency
                rest = rest.append_column("currency", pa.array([value] * rest.num_rows, pa.string()))
        return rest

    def check_currencies(self) -> None:
        """Raise `InputError` for bids in several currencies, which cannot be compared."""
        for name in ("bid", BID_MICROS):
            if name in self._decimals and len(found := self._decimals[name].currencies) > 1:
                told = ", ".join(f"{currency} ({number:,})" for currency, number in found.items())
                problem = f"'{self.matched.get(name, name)}' is in several currencies: {told}"
                raise InputError(problem, cure="convert bids to one", path=self._table.place, field="bid")

    def notes(self) -> Iterator[str]:
        """Yield what is worth saying about how values were read."""
        for name, number in self._no_values.items():
            yield f"{number:,} cells of '{name}' that stand for no value (NULL, N/A, …) read as empty"
        if self._num_unmarked_ids:
            yield f"{self._num_unmarked_ids:,} ids without what a spreadsheet or data frame added to them (=, ', .0)"
        for name, state in self._decimals.items():
            if state.was_seen:
                yield f"'{self.matched.get(name, name)}' has a comma before decimals"
            if len(state.currencies) == 1:
                yield f"'{self.matched.get(name, name)}' is in {next(iter(state.currencies))}"

    def warnings(self) -> Iterator[str]:
        """Yield what is in the file and is not used as its owner may think."""
        for name, state in self._decimals.items():
            if len(state.currencies) > 1:
                yield f"'{self.matched.get(name, name)}' is in several currencies: {', '.join(state.currencies)}"
        for kind, number in self._damaged.items():
            yield f"{number:,} titles {kind}: {quote(self._examples[kind])}"
        if self._bids and min(self._bids) >= _MICROS_FROM and "bid" in self.matched:
            name = self.matched["bid"]
            yield f'all bids are of {_MICROS_FROM:,} and more; if they are in micros, say --map "{name}={BID_MICROS}"'
        if self._bids and len(self._currencies) > 1:
            yield f"bids are compared as numbers, and 'currency' has {', '.join(sorted(self._currencies)[:5])}"
        for name in sorted(self._as_text):
            yield f"'{name}' stays text: not all of its values can be read as numbers in one way"
        if types := {name: number for name, number in self._match_types.items() if name not in ("", "negative")}:
            told = ", ".join(f"{number:,} {name}" for name, number in types.items())
            yield f"match types of keywords: {told}"
        if self._num_negatives:
            yield f"negative keywords of {self._num_negatives:,} ads"


def _notes(table: Table, layout: Layout, reshaped: Reshaped | None) -> Iterator[str]:
    if layout is not PLAIN:
        yield f"{'an' if layout.title[0] in 'AEIO' else 'a'} {layout.title}"
    yield from table.notes
    if table.num_totals:
        yield f"{table.num_totals:,} rows of totals passed over"
    if table.num_headers:
        yield f"{table.num_headers:,} rows that repeat the header passed over"
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


def _title_or_text(columns: dict[str, Any]) -> Any:
    empty = pa.nulls(len(columns["ad_id"]), pa.string())
    titles = pc.utf8_trim_whitespace(pc.fill_null(columns.get("title", empty), ""))
    texts = pc.utf8_trim_whitespace(pc.fill_null(columns.get("description", empty), ""))
    start = pc.utf8_slice_codeunits(texts, 0, 101)
    cut = pc.replace_substring_regex(start, r"(?s)^(.{40,100})\s.*$", r"\1")
    short = pc.less_equal(pc.utf8_length(texts), 100)
    return pc.if_else(pc.equal(titles, ""), pc.if_else(short, texts, pc.utf8_slice_codeunits(cut, 0, 100)), titles)
