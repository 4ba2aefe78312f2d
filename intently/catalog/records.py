"""Rows out of records, which map names of columns to values of JSON: what JSON, XML and whole exports become."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from intently.catalog.fields import PAYLOAD_TYPE, SPANS_TYPE, Field, Rows, match_fields, unmatched
from intently.catalog.problems import Errors, RowCheck
from intently.catalog.shopify_records import is_product, with_variants


@dataclass(frozen=True, slots=True)
class Records:
    """A batch of records: their lines (N), their values (N), and the errors of those left out."""

    lines: list[int]
    values: list[dict[str, Any]]
    errors: Errors = field(default_factory=Errors)


def rows_of(records: Records, fields: Sequence[Field], path: object, *, rest: bool, in_json: bool) -> Rows:
    """Return records as typed columns; a value of a wrong type is an error of its row.

    With `rest` also the columns that no field is called: in JSON, or else as text.
    """
    values = records.values
    # A required field that no row of a batch has is for the reader to report, row by row.
    optional = [each.optional() for each in fields]
    header = list(dict.fromkeys(name for record in values for name in record))
    matched = match_fields(header, optional, path)
    check = RowCheck(path, np.array(records.lines, dtype=np.int64))
    columns = {}
    for each in fields:
        if each.name in matched:
            cells = [_flat(record.get(matched[each.name])) for record in values]
            if not in_json and each.kind != "list" and each.name not in _IN_WORDS:
                cells = [_text(cell) if isinstance(cell, list) else cell for cell in cells]
            columns[each.name] = _column(cells, each, check)
    others = {}
    for name, column in unmatched(header, matched).items() if rest else ():
        cells = [_flat(record.get(column)) for record in values]
        others[name] = pa.array(map(to_json if in_json else _text, cells), pa.string())
    keep = pa.array(check.keep)
    return Rows(
        check.lines[check.keep],
        {n: c.filter(keep) for n, c in columns.items()},
        records.errors + check.errors,
        {n: c.filter(keep) for n, c in others.items()},
    )


def to_json(value: Any) -> str | None:
    """Return a value as compact JSON, None for null."""
    return None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def json_type(value: object) -> str:
    """Return what JSON calls the type of a value."""
    names = {dict: "object", list: "list", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")


_INSIDE = ("_source", "product", "item", "resource", "node", "attributes", "productAttributes")
_WRAPPING = frozenset(("_index", "_type", "_score", "_version", "_seq_no", "_primary_term", "cursor", "name"))


def unwrapped(record: dict[str, Any]) -> dict[str, Any]:
    """Return what a record of JSON wraps, as search engines and interfaces of shops do, with the values beside it.

    A record that has a title wraps nothing but what it is offered for (schema.org's `offers`).
    """
    if is_product(record):
        return with_variants(record)
    offer = record.get("offers")
    offer = offer[0] if isinstance(offer, list) and len(offer) == 1 else offer
    if isinstance(offer, dict) and not {"price", "availability"}.isdisjoint(offer):
        found = {name: value for name, value in offer.items() if not name.startswith("@") and name not in record}
        if "priceCurrency" in found and "price" in found:
            found["price"] = f"{found['price']} {found.pop('priceCurrency')}"
        record = {name: value for name, value in record.items() if name != "offers"} | found
    if "title" in record:
        return record
    inside = next((record[name] for name in _INSIDE if isinstance(record.get(name), dict)), None)
    if inside is None or {"title", "name", "text"}.isdisjoint(inside):
        return record
    beside = {name: value for name, value in record.items() if value is not inside and name not in _WRAPPING}
    return {**beside, **inside}


_TYPED = ("$oid", "$date", "$numberLong", "$numberInt", "$numberDouble", "$numberDecimal")


def _flat(value: Any) -> Any:
    """Return what an object stands for: an amount of money as text, "9.9 USD"; a value with its type, as of MongoDB."""
    if isinstance(value, dict) and len(value) == 1 and (name := next(iter(value))) in _TYPED:
        inside = value[name]
        return _flat(inside) if isinstance(inside, dict) else inside
    if not isinstance(value, dict) or len(value) != 2:
        return value
    currency = value.get("currency", value.get("currencyCode", value.get("currency_code")))
    amount = value.get("value", value.get("amount"))
    micros = value.get("amountMicros", value.get("amount_micros"))
    if micros is not None and re.fullmatch(r"-?\d+", str(micros)):
        amount = f"{int(micros) / 1e6:.6f}".rstrip("0").rstrip(".")
    return value if currency is None or amount is None else f"{amount} {currency}"


def as_amounts(texts: pa.StringArray) -> pa.Array:
    """Return texts in JSON (N,), of which objects that are amounts of money are texts such as "9.9 USD"."""
    if not pc.any(pc.starts_with(texts, "{")).as_py():
        return texts
    told = [to_json(_flat(json.loads(text))) if text and text[0] == "{" else text for text in texts.to_pylist()]
    return pa.array(told, pa.string())


_IN_WORDS = ("category", "advertiser", "description", "landing_text")


def _in_words(value: Any, field: Field) -> Any:
    """Return the name of an object, and of a list of texts the first as category or brand, else all of them."""
    if isinstance(value, dict) and isinstance(value.get("name"), str):
        return value["name"]
    if isinstance(value, list) and all(isinstance(each, dict) and isinstance(each.get("name"), str) for each in value):
        value = [each["name"] for each in value] or None
    if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        return value[0] if field.name in ("category", "advertiser") else "\n".join(value)
    return value


def _text(value: Any) -> str | None:
    if isinstance(value, list) and all(isinstance(each, str) for each in value):  # an element that XML repeats
        return ",".join(value)
    return value if value is None or isinstance(value, str) else to_json(value)


def _column(values: list[Any], field: Field, check: RowCheck) -> pa.Array:
    if field.name == "clicks":  # whether something is so may be said so
        values = [int(value) if isinstance(value, bool) else value for value in values]
    elif field.kind == "word" or field.name == "status":
        values = [str(value).lower() if isinstance(value, bool) else value for value in values]
        values = [",".join(value) if isinstance(value, list) and all(isinstance(each, str) for each in value) else value
                  for value in values]  # fmt: skip
    elif field.name in _IN_WORDS:
        values = [_in_words(value, field) for value in values]
    fits, wanted, arrow_type = _KINDS[field.kind]
    is_text = field.kind in ("number", "list") and any(isinstance(value, str) for value in values)
    wrong = np.array(
        [not (value is None or fits(value) or (is_text and isinstance(value, str))) for value in values], dtype=np.bool_
    )
    check.reject(wrong, field.name, lambda row: f"a JSON {json_type(values[row])} where {wanted} is expected")
    good = [None if bad else value for bad, value in zip(wrong, values, strict=True)]
    if is_text:  # parsed as in TSV
        return pa.array(["|".join(v) if isinstance(v, list) else v if v is None else str(v) for v in good], pa.string())
    if field.kind in ("text", "word"):
        whole = (int(value) if isinstance(value, float) and value.is_integer() else value for value in good)
        good = [value if value is None else str(value) for value in whole]
    elif field.kind == "payload":
        good = [value and [(name, to_json(each)) for name, each in value.items() if each is not None] for value in good]
    elif field.kind == "spans":
        good = [value if value is None else [dict(span) for span in value] for value in good]
    return pa.array(good, arrow_type)


def _is_text(value: object) -> bool:
    if isinstance(value, float):  # an id that went through a table with missing ids
        return value.is_integer() and abs(value) <= 2**53
    return isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool))  # ids may be numbers


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 2**1000


def _is_list(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def is_spans(value: object) -> bool:
    """Return whether a JSON value is a list of `{"text": string, "confidence": number}`."""
    return isinstance(value, list) and all(
        isinstance(span, dict) and isinstance(span.get("text"), str) and _is_number(span.get("confidence"))
        for span in value
    )


_KINDS: dict[str, tuple[Callable[[object], bool], str, Any]] = {
    "text": (_is_text, "a string", pa.string()),
    "word": (lambda value: isinstance(value, str) or _is_number(value), "a string", pa.string()),
    "number": (_is_number, "a number", pa.float64()),
    "list": (_is_list, "a list of strings", pa.list_(pa.string())),
    "spans": (is_spans, 'a list of {"text": string, "confidence": number}', SPANS_TYPE),
    "payload": (lambda value: isinstance(value, dict), "an object", PAYLOAD_TYPE),
}
