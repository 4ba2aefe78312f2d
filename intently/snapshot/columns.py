"""The columns that a request may name: the fields of ads and what their payloads hold. Filters over them.

A name is that of a field (`category`), of a value in the payload (`price`), or one by which feeds call a field
(`brand`), in this order.
"""

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np

from intently.arrays import Mask
from intently.catalog.columns import AD_FIELDS
from intently.catalog.serving_words import STATUSES
from intently.catalog.targeting_values import country, device, language
from intently.errors import InputError
from intently.filters import AllOf, AnyOf, Compare, Expression, Has, IsMissing, Not, OneOf
from intently.filters.expressions import Leaf
from intently.snapshot.attributes import SET_FIELDS, TEXT_FIELDS
from intently.snapshot.values import Kind, Values, kind_of
from intently.types import EVERYTHING, Request

if TYPE_CHECKING:
    from intently.snapshot.snapshot import Snapshot

_KINDS = {"text": Kind.TEXT, "number": Kind.NUMBER, "list": Kind.LIST}
OWN = {field.name: _KINDS[field.kind] for field in AD_FIELDS if field.kind in _KINDS}
_ALIASES = {alias: field.name for field in AD_FIELDS if field.name in OWN for alias in field.aliases}
_FOLDS = {"countries": country, "languages": language, "devices": device}
_ONE = {Kind.NUMBER: "a number", Kind.TEXT: "a text", Kind.BOOLEAN: "true or false"}
_NO_CAP = (Kind.LIST, Kind.OBJECT)


def check_columns(request: Request, snapshot: "Snapshot") -> None:
    """Raise `InputError` unless a request's columns exist and its conditions compare them with what they hold."""
    if isinstance(request.filters, Expression):
        for leaf in request.filters.leaves():
            _check_leaf(leaf, snapshot)
    for name in request.payload:
        if name != EVERYTHING:
            own_name(name, snapshot, "payload")
    for name in request.max_per:
        kinds = kinds_of(name, snapshot, "max_per")
        if wrong := next((kind for kind in _NO_CAP if kind in kinds), None):
            cure = "name a column that holds one value an ad"
            raise InputError(f"{name!r} holds {wrong}, which cannot be counted", cure=cure, field="max_per")


def own_name(name: str, snapshot: "Snapshot", field: str) -> str | None:
    """Return which field of an ad a name means, None for a value in the payload; raise `InputError` for neither."""
    if name in OWN:
        return name
    names = snapshot.attributes.payloads.names
    if name in names:
        return None
    if name in _ALIASES:
        return _ALIASES[name]
    there = [*OWN, *sorted(names)]
    close = get_close_matches(name, there, 1)
    told = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(there[:50])}"
    raise InputError(f"no ad has a column {name!r}", cure=told, field=field)


def kinds_of(name: str, snapshot: "Snapshot", field: str) -> frozenset[Kind]:
    """Return the kinds of a column's values."""
    own = own_name(name, snapshot, field)
    return snapshot.attributes.payloads.kinds(name) if own is None else frozenset((OWN[own],))


def _check_leaf(leaf: Leaf, snapshot: "Snapshot") -> None:
    kinds = kinds_of(leaf.name, snapshot, "filters")
    held = " and ".join(sorted(kinds))
    if isinstance(leaf, Has):
        if Kind.LIST not in kinds:
            cure = f"write {leaf.name} == …"
            raise InputError(f"{leaf.name!r} holds {held}, not lists", cure=cure, field="filters")
        if own := own_name(leaf.name, snapshot, "filters"):
            _item(own, leaf.value)
        return
    values = leaf.values if isinstance(leaf, OneOf) else (leaf.value,) if isinstance(leaf, Compare) else ()
    for value in values:
        if (kind := kind_of(value)) not in kinds:
            problem = f"{leaf.name!r} holds {held}, and {value!r} is {_ONE[kind]}"
            cure = f"write {leaf.name} has {value!r}" if Kind.LIST in kinds else _cure(leaf.name, kinds, value)
            raise InputError(problem[:300], cure=cure, field="filters")


def _item(own: str, value: object) -> str:
    """Return an item of a field's lists in the words of the catalog; raise `InputError` for one that it cannot hold."""
    if not isinstance(value, str):
        raise InputError(f"{own!r} holds lists of texts", cure=f'put it in quotes: "{value}"', field="filters")
    try:
        return _FOLDS[own](value) if own in _FOLDS else value
    except InputError as error:
        raise InputError(error.problem, cure=error.cure, field="filters") from None


def _cure(name: str, kinds: frozenset[Kind], value: object) -> str:
    if Kind.TEXT in kinds:
        return f'put it in quotes: "{value}"'
    if Kind.NUMBER in kinds:
        return f"compare with a number, without quotes: {name} < 50"
    if Kind.BOOLEAN in kinds:
        return f"write {name} == true"
    return "name a column that holds one value an ad"


def matching(expression: Expression, snapshot: "Snapshot") -> Mask:
    """Return of which rows (N,), living and removed, a checked expression is true."""
    if isinstance(expression, Not):
        return ~matching(expression.part, snapshot)
    if isinstance(expression, AllOf | AnyOf):
        together = np.logical_and if isinstance(expression, AllOf) else np.logical_or
        mask: Mask = together.reduce([matching(part, snapshot) for part in expression.parts])
        return mask
    assert isinstance(expression, Leaf)
    return _holds(expression, snapshot)


def _holds(leaf: Leaf, snapshot: "Snapshot") -> Mask:
    own, attributes = own_name(leaf.name, snapshot, "filters"), snapshot.attributes
    if own is None:
        return attributes.payloads.holds(leaf.name, leaf)
    if own == "bid":
        return Values.of_numbers(attributes.bids).holds(leaf)
    if own == "status":
        codes = attributes.statuses.astype(np.int32)
        return Values(codes=codes, texts=STATUSES, present=codes >= 0).holds(leaf)
    if own in SET_FIELDS:
        if isinstance(leaf, IsMissing):
            missing: Mask = attributes.sets[own].codes == 0
            return missing
        assert isinstance(leaf, Has)
        return attributes.sets[own].holding(_item(own, leaf.value))
    if own in TEXT_FIELDS:
        return Values.of_texts(attributes.texts()[own]).holds(leaf)
    return np.concatenate([segment.values(own).holds(leaf) for segment in snapshot.segments])


def values_of(row: int, names: tuple[str, ...], snapshot: "Snapshot") -> dict[str, Any]:
    """Return the values of a row by name, None for a missing one; `EVERYTHING` stands for its whole payload."""
    values: dict[str, Any] = {}
    payload = snapshot.attributes.payloads.of(row)
    for name in names:
        if name == EVERYTHING:
            values |= payload
            continue
        own = own_name(name, snapshot, "payload")
        value = payload.get(name) if own is None else snapshot.field_of(row, own)
        values[name] = None if value in ("", ()) else value
    return values
