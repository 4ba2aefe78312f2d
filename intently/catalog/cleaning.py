"""Cleaning the values of a catalog's columns: what they may be, and how they are kept.

Text is trimmed and otherwise left as it is. Texts of one field are at most as long as `MAX_LENGTHS` says, in
characters; a list has at most `MAX_LIST_LENGTH` elements or spans of at most `MAX_OTHER_LENGTH` characters, and spans
have at most `MAX_SPANS_LENGTH` in all. In TSV and
CSV the elements of a list are separated by `|`, and `landing_spans` are written in JSON. Empty elements of a list are
dropped. Countries, languages and devices are kept in the words of `intently.catalog.targeting_values`; status and day
parts are made lower case. HTML becomes text: see `intently.catalog.markup`.

An id may hold blanks, but no other white space or control character; `␣` stands for a blank in TREC files and is
refused.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from intently.catalog.amounts import NUMBER
from intently.catalog.columns import (
    AD_FIELDS,
    MAX_LENGTHS,
    MAX_LIST_LENGTH,
    MAX_OTHER_LENGTH,
    MAX_SPANS_LENGTH,
    SCHEMA,
    TYPES,
)
from intently.catalog.fields import SPANS_TYPE, Field
from intently.catalog.jsonl import parse_json
from intently.catalog.lists import clean_list, read_or_error
from intently.catalog.masks import mask_of
from intently.catalog.payload import clean_payload
from intently.catalog.problems import RowCheck, quote
from intently.catalog.records import is_spans
from intently.catalog.serving import read_status
from intently.catalog.serving_words import ACTIVE, STATUSES, UNKNOWN
from intently.catalog.user_conditions import instant, targeting
from intently.errors import InputError
from intently.text.markup import plain_texts


def clean_ads(columns: Mapping[str, Any], check: RowCheck, fields: Sequence[Field] = AD_FIELDS) -> pa.Table:
    """Return a table in `SCHEMA` of the rows whose values are all valid; the others are rejected in `check`.

    `fields` are the `AD_FIELDS`, of which other ones may be required.
    """
    num_rows = len(check.lines)
    cleaned = []
    for field in fields:
        values = columns.get(field.name)
        if values is None:
            values = pa.nulls(num_rows, TYPES[field.kind])
        cleaned.append(_CLEANERS[field.kind](values, field, check))
    return pa.table(cleaned, schema=SCHEMA).filter(pa.array(check.keep))


def clean_text(values: Any, field: Field, check: RowCheck, max_length: int | None = None) -> Any:
    """Return strings (N,) trimmed, with "" for null; rejects NUL characters, what is too long, and what is missing."""
    limit = max_length or MAX_LENGTHS.get(field.name, MAX_OTHER_LENGTH)
    texts = pc.utf8_trim_whitespace(pc.fill_null(values, ""))
    lengths = pc.utf8_length(texts).to_numpy(zero_copy_only=False)
    if not field.required and not lengths.any():
        return texts
    check.reject(mask_of(pc.match_substring(texts, "\0")), field.name, "holds a NUL character", "remove it")
    check.reject(
        lengths > limit,
        field.name,
        lambda row: f"{lengths[row]:,} characters, over the limit of {limit:,}",
        "shorten it",
    )
    if field.required:
        check.reject(lengths == 0, field.name, "empty", "give every row one")
    if field.name in _ID_FIELDS:
        wrong = mask_of(pc.match_substring_regex(texts, _NO_ID))
        cure = "write ids without tabs, line breaks, other invisible characters and ␣"
        check.reject(wrong, field.name, lambda row: f"{quote(texts[row].as_py())} cannot be an id", cure)
    return texts


_ID_FIELDS = ("ad_id", "query_id")
# White space other than a blank, controls, invisible and bidirectional marks, and the sign that stands for a blank.
_NO_ID = r"[\p{Zl}\p{Zp}\p{Cc}\p{Cf}␣]|[^\P{Zs} ]"


def clean_number(values: Any, field: Field, check: RowCheck, *, lowest: float = 0) -> Any:
    """Return float64 (N,), null for empty cells; reject a cell unless it is a finite number of at least `lowest`."""
    numbers = values
    if pa.types.is_string(values.type):
        texts = pc.utf8_trim_whitespace(values)
        texts = pc.if_else(pc.equal(texts, ""), None, texts)
        wrong = ~mask_of(pc.match_substring_regex(texts, NUMBER), default=True)
        check.reject(wrong, field.name, lambda row: f"{quote(texts[row].as_py())} is not a number", _NUMBER_CURE)
        numbers = pc.if_else(pa.array(wrong), None, texts).cast(pa.float64())
    valid = mask_of(pc.and_(pc.is_finite(numbers), pc.greater_equal(numbers, lowest)), default=True)
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
    read = [read_or_error(_READ[field.name], text) if text else "" for text in distinct.dictionary.to_pylist()]
    codes = distinct.indices.to_numpy(zero_copy_only=False)
    wrong = np.array([isinstance(each, InputError) for each in read], dtype=np.bool_)
    if wrong.any():
        told = [(each.problem, each.cure) if isinstance(each, InputError) else ("", "") for each in read]
        bad = wrong[codes]
        check.reject(bad, field.name, lambda row: told[codes[row]][0], lambda row: told[codes[row]][1] or "mend it")
    known = pa.array(["" if isinstance(each, InputError) else each for each in read], pa.string())
    return known.take(pa.array(codes))


def _clean_spans(values: Any, field: Field, check: RowCheck) -> Any:
    if pa.types.is_string(values.type):
        values = _parse_spans(values, field, check)
    spans, rows = values.flatten(), pc.list_parent_indices(values).to_numpy()
    if not len(spans):
        return pa.ListArray.from_arrays(pa.array(np.zeros(len(values) + 1, dtype=np.int32)), spans)
    confidences = pc.struct_field(spans, "confidence")
    texts = pc.struct_field(spans, "text")
    inside = mask_of(pc.and_(pc.greater_equal(confidences, 0), pc.less_equal(confidences, 1)))  # neither null nor NaN
    too_long = mask_of(pc.greater(pc.utf8_length(texts), MAX_OTHER_LENGTH))
    for wrong, problem, cure in (
        (too_long, f"the text of a span is over {MAX_OTHER_LENGTH:,} characters", "shorten it"),
        (~inside, "a confidence outside [0, 1]", "give probabilities"),
        (mask_of(pc.match_substring(texts, "\0"), default=True), "a span's text is missing or holds a NUL", "mend it"),
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
    "list": clean_list,
    "spans": _clean_spans,
    "payload": clean_payload,
}
