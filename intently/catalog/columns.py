"""The columns of a catalog and what their values may be.

Text is trimmed and otherwise left as it is. Texts of one field are at most as long as `MAX_LENGTHS` says, in
characters; a list has at most `MAX_LIST_LENGTH` elements or spans of at most `MAX_OTHER_LENGTH` characters, and spans
have at most `MAX_SPANS_LENGTH` in all. In TSV and
CSV the elements of a list are separated by `|`, and `landing_spans` are written in JSON. Empty elements of a list are
dropped. Countries, languages and devices are kept in the words of `intently.catalog.targeting_values`; status and day
parts are made lower case. HTML becomes text: see `intently.catalog.markup`.

An id may hold blanks, but no other white space or control character; `␣` stands for a blank in TREC files and is
refused.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from intently.catalog.amounts import NUMBER
from intently.catalog.day_parts import parse_day_parts, split_zone
from intently.catalog.fields import PAYLOAD_TYPE, SPANS_TYPE, Field
from intently.catalog.jsonl import parse_json
from intently.catalog.payload import clean_payload
from intently.catalog.problems import RowCheck, quote
from intently.catalog.records import is_spans
from intently.catalog.serving import read_status
from intently.catalog.serving_words import ACTIVE, STATUSES, UNKNOWN
from intently.catalog.targeting_values import EVERYTHING, country, device, language
from intently.catalog.user_conditions import instant, targeting
from intently.errors import InputError
from intently.filters import MAX_LENGTH
from intently.rules.keyword import checked_negative
from intently.text.markup import plain_texts

Mask = npt.NDArray[np.bool_]

AD_FIELDS = (
    Field(
        "ad_id",
        aliases=(
            "product_id",
            "doc_id",
            "item_id",
            "id",
            "_id",
            "offer_id",
            "sku",
            "sku_id",
            "item_sku",
            "product_sku",
            "unique_id",
            "aw_product_id",
            "merchant_product_id",
            "product_code",
            "item_number",
        ),
        required=True,
    ),
    Field(
        "title",
        aliases=(
            "product_title",
            "product_name",
            "ad_title",
            "headline",
            "headline_1",
            "title_1",
            "item_title",
            "ad_headline",
            "productname",
            "item_name",
            "name",
        ),
        required=True,
    ),
    Field(
        "description",
        aliases=("product_description", "text", "body_html", "body", "ad_text", "summary", "content", "ad_description"),
    ),
    Field("landing_text", aliases=("product_bullet_point",)),
    Field("landing_spans", kind="spans"),
    Field("keywords", kind="list", aliases=("keyword", "bid_keywords", "search_keywords", "keyword_text")),
    Field(
        "advertiser",
        aliases=("brand", "brands", "brand_name", "product_brand", "vendor", "manufacturer", "advertiser_name"),
    ),
    Field(
        "category",
        aliases=(
            "product_class",
            "product_type",
            "product_types",
            "product_category",
            "google_product_category",
            "fb_product_category",
            "categorytext",
            "category_name",
            "category_path",
            "categories",
            "merchant_category",
        ),
    ),
    Field(
        "bid",
        kind="number",
        aliases=(
            "bid_price",
            "max_cpc",
            "cpc_bid",
            "max_cpc_bid",
            "bid_amount",
            "max_bid",
            "default_max_cpc",
            "cpc_bid_amount",
        ),
    ),
    Field("status", aliases=("state",)),
    Field("countries", kind="list", aliases=("target_countries", "country_codes", "target_country")),
    Field("languages", kind="list", aliases=("content_language", "target_languages")),
    Field("devices", kind="list", aliases=("target_devices",)),
    Field("day_parts", kind="list", aliases=("dayparts", "day_parting")),
    Field("audiences", kind="list", aliases=("target_audiences",)),
    Field(
        "negative_keywords",
        kind="list",
        aliases=("negatives", "negative_keyword", "exclude_keywords", "excluded_keywords"),
    ),
    Field("negative_lists", kind="list", aliases=("negative_keyword_lists",)),
    Field("targeting"),
    Field("labels", kind="list"),
    Field("starts"),
    Field("ends"),
    Field("payload", kind="payload"),
)
_TYPES = {
    "text": pa.string(),
    "number": pa.float64(),
    "list": pa.list_(pa.string()),
    "spans": SPANS_TYPE,
    "payload": PAYLOAD_TYPE,
}
SCHEMA = pa.schema([pa.field(field.name, _TYPES[field.kind]) for field in AD_FIELDS])

MAX_LENGTHS = {
    "ad_id": 256, "title": 10_000, "description": 100_000, "landing_text": 100_000, "targeting": MAX_LENGTH
}  # fmt: skip
MAX_OTHER_LENGTH = 1_000
MAX_LIST_LENGTH = 1_000
MAX_SPANS_LENGTH = 100_000  # of all spans of an ad together, as long as `landing_text` may be


def clean_ads(columns: Mapping[str, Any], check: RowCheck, fields: Sequence[Field] = AD_FIELDS) -> pa.Table:
    """Return a table in `SCHEMA` of the rows whose values are all valid; the others are rejected in `check`.

    `fields` are the `AD_FIELDS`, of which other ones may be required.
    """
    num_rows = len(check.lines)
    cleaned = []
    for field in fields:
        values = columns.get(field.name)
        if values is None:
            values = pa.nulls(num_rows, _TYPES[field.kind])
        cleaned.append(_CLEANERS[field.kind](values, field, check))
    return pa.table(cleaned, schema=SCHEMA).filter(pa.array(check.keep))


def concat_ads(tables: Sequence[pa.Table]) -> pa.Table:
    """Return the rows of all `tables` in `SCHEMA`, without empty chunks."""
    return pa.concat_tables([table for table in tables if table.num_rows] or [SCHEMA.empty_table()])


def clean_text(values: Any, field: Field, check: RowCheck, max_length: int | None = None) -> Any:
    """Return strings (N,) trimmed, with "" for null; rejects NUL characters, what is too long, and what is missing."""
    limit = max_length or MAX_LENGTHS.get(field.name, MAX_OTHER_LENGTH)
    texts = pc.utf8_trim_whitespace(pc.fill_null(values, ""))
    lengths = pc.utf8_length(texts).to_numpy(zero_copy_only=False)
    if not field.required and not lengths.any():
        return texts
    check.reject(_mask(pc.match_substring(texts, "\0")), field.name, "holds a NUL character", "remove it")
    check.reject(
        lengths > limit,
        field.name,
        lambda row: f"{lengths[row]:,} characters, over the limit of {limit:,}",
        "shorten it",
    )
    if field.required:
        check.reject(lengths == 0, field.name, "empty", "give every row one")
    if field.name in _ID_FIELDS:
        wrong = _mask(pc.match_substring_regex(texts, _NO_ID))
        cure = "write ids without tabs, line breaks, other invisible characters and ␣"
        check.reject(wrong, field.name, lambda row: f"{quote(texts[row].as_py())} cannot be an id", cure)
    return texts


_ID_FIELDS = ("ad_id", "query_id")
# White space other than a blank, controls, invisible and bidirectional marks, and the sign that stands for a blank.
_NO_ID = r"[\p{Zl}\p{Zp}\p{Cc}\p{Cf}␣]|[^\P{Zs} ]"


def clean_number(values: Any, field: Field, check: RowCheck, *, lowest: float = 0) -> Any:
    """Return float64 (N,), null where there is none; rejects what is not a finite number of at least `lowest`."""
    numbers = values
    if pa.types.is_string(values.type):
        texts = pc.utf8_trim_whitespace(values)
        texts = pc.if_else(pc.equal(texts, ""), None, texts)
        wrong = ~_mask(pc.match_substring_regex(texts, NUMBER), default=True)
        check.reject(wrong, field.name, lambda row: f"{quote(texts[row].as_py())} is not a number", _NUMBER_CURE)
        numbers = pc.if_else(pa.array(wrong), None, texts).cast(pa.float64())
    valid = _mask(pc.and_(pc.is_finite(numbers), pc.greater_equal(numbers, lowest)), default=True)
    wanted = "finite" if lowest == -np.inf else f"finite and at least {lowest:g}"
    check.reject(~valid, field.name, lambda row: f"{numbers[row].as_py()} is not {wanted}", _NUMBER_CURE)
    return numbers


_NUMBER_CURE = "write a plain number of at least 0, such as 0.25"


_HTML_FIELDS = ("title", "description", "landing_text", "advertiser", "category")


def _clean_text(values: Any, field: Field, check: RowCheck) -> Any:
    if field.name in _HTML_FIELDS:
        values, had_markup = plain_texts(pc.fill_null(values, ""))
        check.had_markup |= had_markup
    texts = clean_text(values, field, check)
    if field.name in _READ:
        return _read_each(texts, field, check)
    if field.name != "status":
        return texts
    encoded = pc.dictionary_encode(texts)
    codes = np.array(
        [ACTIVE if text == "" else read_status(text) for text in encoded.dictionary.to_pylist()] + [ACTIVE]
    )
    found = codes[encoded.indices.to_numpy()]
    cure = f"use one of {', '.join(STATUSES)}"
    check.reject(found == UNKNOWN, "status", lambda row: f"unknown status {quote(texts[row].as_py())}", cure)
    return pa.array(STATUSES).take(pa.array(found.clip(0)))


_READ: dict[str, Callable[[str], str]] = {"targeting": targeting, "starts": instant, "ends": instant}


def _read_each(texts: Any, field: Field, check: RowCheck) -> Any:
    """Return texts (N,) as a function reads them, each different one once; those that it refuses are rejected."""
    distinct = pc.dictionary_encode(texts)
    if isinstance(distinct, pa.ChunkedArray):
        distinct = distinct.unify_dictionaries().combine_chunks()
        distinct = distinct.chunk(0) if isinstance(distinct, pa.ChunkedArray) else distinct
    read = [_folded(_READ[field.name], text) if text else "" for text in distinct.dictionary.to_pylist()]
    codes = distinct.indices.to_numpy(zero_copy_only=False)
    wrong = np.array([isinstance(each, InputError) for each in read], dtype=np.bool_)
    if wrong.any():
        told = [(each.problem, each.cure) if isinstance(each, InputError) else ("", "") for each in read]
        bad = wrong[codes]
        check.reject(bad, field.name, lambda row: told[codes[row]][0], lambda row: told[codes[row]][1] or "mend it")
    known = pa.array(["" if isinstance(each, InputError) else each for each in read], pa.string())
    return known.take(pa.array(codes))


def _clean_list(values: Any, field: Field, check: RowCheck) -> Any:
    if pa.types.is_string(values.type):
        values = split_lists(values, field.name)
    items, rows = pc.fill_null(values.flatten(), ""), pc.list_parent_indices(values).to_numpy()
    if not len(items):
        return pa.ListArray.from_arrays(pa.array(np.zeros(len(values) + 1, dtype=np.int32)), items)
    if field.name == "keywords":
        items, had_markup = plain_texts(items)
        check.had_markup[rows[had_markup]] = True
    items = pc.utf8_trim_whitespace(items)
    filled = _mask(pc.not_equal(items, ""))
    if field.name in ("countries", "languages", "devices"):
        is_all = _mask(pc.is_in(pc.utf8_lower(items), pa.array(sorted(EVERYTHING))))
        filled &= ~np.isin(rows, rows[is_all])  # nothing is excluded
    items, rows = items.filter(pa.array(filled)), rows[filled]
    lengths = np.bincount(rows, minlength=len(values))
    too_many = f"over {MAX_LIST_LENGTH:,} elements"
    check.reject(lengths > MAX_LIST_LENGTH, field.name, too_many, "give fewer")

    def reject(wrong: Mask, problem: Callable[[str], str], cure: Callable[[str], str]) -> None:
        bad_rows, first = np.unique(rows[wrong], return_index=True)
        item_of = dict(zip(bad_rows.tolist(), np.flatnonzero(wrong)[first].tolist(), strict=True))
        mask = np.zeros(len(values), dtype=np.bool_)
        mask[bad_rows] = True

        def told(tell: Callable[[str], str]) -> Callable[[int], str]:
            return lambda row: tell(items[item_of[row]].as_py())

        check.reject(mask, field.name, told(problem), told(cure))

    too_long = _mask(pc.greater(pc.utf8_length(items), MAX_OTHER_LENGTH))
    reject(too_long, lambda item: f"{quote(item)} is too long", lambda _: "shorten it")
    has_nul = _mask(pc.match_substring(items, "\0"))
    reject(has_nul, lambda item: f"{quote(item)} holds a NUL character", lambda _: "remove it")
    if field.name in _FOLDS:
        distinct = pc.dictionary_encode(items)
        folded = [_folded(_FOLDS[field.name], text) for text in distinct.dictionary.to_pylist()]
        error_of = dict(zip(distinct.dictionary.to_pylist(), folded, strict=True))
        codes = distinct.indices.to_numpy()
        wrong = np.array([isinstance(each, InputError) for each in folded], dtype=np.bool_)[codes]
        reject(
            wrong,
            lambda item: getattr(error_of[item], "problem", ""),
            lambda item: _SEPARATOR_CURE if re.search("[,;/]", item) else getattr(error_of[item], "cure", ""),
        )
        known = pa.array(["" if isinstance(each, InputError) else each for each in folded], pa.string())
        items = known.take(distinct.indices)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), items)


_SEPARATOR_CURE = "separate the elements of a list by |"
_SEPARATORS = re.compile(r"(?<!\d)[,，]|[,，](?!\d)|[;；、\n]")  # but not a decimal comma


def split_lists(values: Any, name: str) -> Any:
    """Return texts (N,) as lists: split at bars, and if no text has one, at commas, semicolons and line breaks.

    Countries, languages and devices are split at these in any case, unless the whole is the name of one. Day parts are
    split at bars alone, as they hold commas.
    """
    fold = _FOLDS.get(name)
    has_bars = pc.any(pc.match_substring(values, "|")).as_py()
    if name == "day_parts" or not pc.any(pc.match_substring_regex(values, "[,;/，；、\n]")).as_py():
        return pc.split_pattern(values, "|")
    if fold is None and has_bars:
        return pc.split_pattern(values, "|")
    encoded = values.dictionary_encode()
    lists = []
    for text in encoded.dictionary.to_pylist():
        parts = text.split("|")
        if fold is None:
            lists.append(_SEPARATORS.split(text))
            continue
        lists.append([])
        for part in parts:
            is_one = _is_known(fold, part)
            pieces = [part] if is_one else re.split(r"[,;/，；、\n]", part)
            known = is_one or all(_is_known(fold, each) for each in pieces)
            lists[-1] += pieces if known else [part]
    return pa.array(lists, pa.list_(pa.string())).take(encoded.indices)


def _is_known(fold: Callable[[str], str], text: str) -> bool:
    """Return whether a text is empty, one element, or stands for all of them."""
    text = text.strip()
    return not text or text.lower() in EVERYTHING or not isinstance(_folded(fold, text), InputError)


def _folded(fold: Callable[[str], str], text: str) -> str | InputError:
    try:
        return fold(text)
    except InputError as error:
        return error


def _day_part(text: str) -> str:
    parse_day_parts([text])
    hours, zone = split_zone(text)
    return f"{hours.lower()} {zone}" if zone else text.lower()


# field → how an element is read: as the targeting of users is
_FOLDS: dict[str, Callable[[str], str]] = {
    "countries": country,
    "languages": language,
    "devices": device,
    "day_parts": _day_part,
    "negative_keywords": checked_negative,
}


def _clean_spans(values: Any, field: Field, check: RowCheck) -> Any:
    if pa.types.is_string(values.type):
        values = _parse_spans(values, field, check)
    spans, rows = values.flatten(), pc.list_parent_indices(values).to_numpy()
    if not len(spans):
        return pa.ListArray.from_arrays(pa.array(np.zeros(len(values) + 1, dtype=np.int32)), spans)
    confidences = pc.struct_field(spans, "confidence")
    texts = pc.struct_field(spans, "text")
    inside = _mask(pc.and_(pc.greater_equal(confidences, 0), pc.less_equal(confidences, 1)))  # neither null nor NaN
    too_long = _mask(pc.greater(pc.utf8_length(texts), MAX_OTHER_LENGTH))
    for wrong, problem, cure in (
        (too_long, f"the text of a span is over {MAX_OTHER_LENGTH:,} characters", "shorten it"),
        (~inside, "a confidence outside [0, 1]", "give probabilities"),
        (_mask(pc.match_substring(texts, "\0"), default=True), "a span's text is missing or holds a NUL", "mend it"),
    ):
        bad_rows = np.zeros(len(values), dtype=np.bool_)
        bad_rows[rows[wrong]] = True
        check.reject(bad_rows, field.name, problem, cure)
    lengths = np.bincount(rows, minlength=len(values))
    check.reject(lengths > MAX_LIST_LENGTH, field.name, f"over {MAX_LIST_LENGTH:,} spans", "give fewer")
    sizes = pc.fill_null(pc.utf8_length(texts), 0).to_numpy(zero_copy_only=False)
    too_much = np.bincount(rows, weights=sizes, minlength=len(values)) > MAX_SPANS_LENGTH
    check.reject(too_much, field.name, f"spans of over {MAX_SPANS_LENGTH:,} characters in all", "give fewer")
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(
        pa.array(offsets), pa.StructArray.from_arrays([texts, confidences], ["text", "confidence"])
    )


def _parse_spans(values: Any, field: Field, check: RowCheck) -> Any:
    parsed: list[Any] = []
    wrong = np.zeros(len(values), dtype=np.bool_)
    for row, text in enumerate(pc.utf8_trim_whitespace(pc.fill_null(values, "")).to_pylist()):
        try:
            spans = parse_json(text) if text else []
        except ValueError:
            spans = None
        wrong[row] = not is_spans(spans)
        parsed.append([] if wrong[row] else spans)
    check.reject(wrong, field.name, "not a list of spans", 'write JSON: [{"text": "Free delivery", "confidence": 0.9}]')
    return pa.array(
        [[{"text": s["text"], "confidence": s["confidence"]} for s in spans] for spans in parsed], SPANS_TYPE
    )


_CLEANERS: dict[str, Callable[[Any, Field, RowCheck], Any]] = {
    "text": _clean_text,
    "number": clean_number,
    "list": _clean_list,
    "spans": _clean_spans,
    "payload": clean_payload,
}


def _mask(values: Any, *, default: bool = False) -> Mask:
    """Return a boolean array as NumPy, with `default` for null."""
    mask: Mask = pc.fill_null(values, default).to_numpy(zero_copy_only=False)
    return mask
