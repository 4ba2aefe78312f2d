"""Ads made in Python as columns, after a look at the type of every value."""

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from intently.catalog.columns import AD_FIELDS, SCHEMA
from intently.catalog.fields import Field
from intently.catalog.payload import payload_column
from intently.errors import InputError
from intently.frozen import FrozenDict
from intently.types import Ad, Span

_EXAMPLES = {
    "text": ("a text", "write a str"),
    "number": ("a number or None", "write a number such as 0.25"),
    "list": ("a list of texts", 'write a tuple such as ("a", "b")'),
    "spans": ("a list of Span", 'write a tuple such as (Span("Sale", 0.9),)'),
    "payload": ("a mapping", 'write {"price": 19.9}'),
}
_PLAIN: dict[str, set[type]] = {
    "text": {str},
    "number": {int, float, type(None)},
    "list": {tuple, list},
    "spans": {tuple, list},
    "payload": {FrozenDict},
}


def columns_of(ads: Sequence[Ad], first_position: int) -> dict[str, Any]:
    """Return the fields of `ads` (N,) as columns (N,) in the types of the catalog.

    Raises InputError naming the position, from `first_position`, and the field of the first value of a wrong type.
    """
    for position, ad in enumerate(ads, start=first_position):
        if not isinstance(ad, Ad):
            problem = f"expected an Ad, got {_told(ad)}"
            raise InputError(problem, cure='write Ad("a1", "Title")', path="ads", line=position)
    columns: dict[str, Any] = {}
    for field in AD_FIELDS:
        values: list[Any] = [getattr(ad, field.name) for ad in ads]
        _check_types(values, field, first_position)
        if field.kind == "payload":
            columns[field.name] = payload_column(values)
            continue
        if field.kind == "spans":
            values = [[{"text": span.text, "confidence": span.confidence} for span in spans] for spans in values]
        try:
            columns[field.name] = pa.array(values, SCHEMA.field(field.name).type)
        except (pa.ArrowException, UnicodeEncodeError, TypeError, OverflowError):
            _find_unwritable(values, field, first_position)
            raise
    return columns


def _check_types(values: list[Any], field: Field, first_position: int) -> None:
    plain = field.kind in ("text", "number", "payload")
    if set(map(type, values)) <= _PLAIN[field.kind] and (plain or not any(values)):
        return  # the common case, without a look at every value
    for position, value in enumerate(values, start=first_position):
        if not _fits(value, field.kind):
            wanted, cure = _EXAMPLES[field.kind]
            if isinstance(value, str) and field.kind == "list":
                cure = f"write ({value!r},)" if len(value) <= 60 else cure
            problem = f"expected {wanted}, got {_told(value)}"
            raise InputError(problem, cure=cure, path="ads", line=position, field=field.name)


def _fits(value: object, kind: str) -> bool:
    if kind == "text":
        return isinstance(value, str)
    if kind == "payload":
        return isinstance(value, FrozenDict)
    if kind == "number":
        return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
    if not isinstance(value, list | tuple | set | frozenset):
        return False
    if kind == "list":
        return all(isinstance(item, str) for item in value)
    return all(
        isinstance(span, Span) and isinstance(span.text, str) and _fits(span.confidence, "number") for span in value
    )


def _find_unwritable(values: Iterable[Any], field: Field, first_position: int) -> None:
    """Raise InputError for the first value that Arrow does not take: half a surrogate pair, a number out of range."""
    for position, value in enumerate(values, start=first_position):
        try:
            pa.array([value], SCHEMA.field(field.name).type)
        except (pa.ArrowException, UnicodeEncodeError, TypeError, OverflowError) as error:
            problem = f"a value that cannot be stored: {error}"
            raise InputError(problem, cure="mend it", path="ads", line=position, field=field.name) from None


def _told(value: object) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:59] + '…'}"
