"""Records out of one JSON document: a list of objects, or an object that holds one, as web interfaces answer."""

from collections.abc import Iterator
from typing import Any

from intently.catalog.fields import BATCH_ROWS
from intently.catalog.jsonl import parse_json
from intently.catalog.records import Records, json_type, unwrapped
from intently.errors import InputError

_CURE = "write a list of objects, or one JSON object a line"


def json_records(text: str, place: object) -> Iterator[Records]:
    """Yield the records of a document; lines count the records from 1. Raises InputError where none are to be found."""
    try:
        value = parse_json(text)
    except ValueError as error:
        line = getattr(error, "lineno", 1)
        raise InputError(f"not valid JSON: {error}", cure=_CURE, path=place, line=line) from None
    records = _list_in(value, place)
    for number, record in enumerate(records, start=1):
        if not isinstance(record, dict):
            problem = f"the element {number} of the list is a JSON {json_type(record)}, where an object is expected"
            raise InputError(problem, cure=_CURE, path=place)
    for start in range(0, len(records), BATCH_ROWS):
        part = [unwrapped(record) for record in records[start : start + BATCH_ROWS]]
        yield Records(list(range(start + 1, start + len(part) + 1)), part)


def holds_records(value: dict[str, Any]) -> bool:
    """Return whether an object is no record itself, but holds a list of records."""
    if _is_record(value):
        return False
    return next(_lists(value, 0), None) is not None or bool(_by_id(value)) or _is_empty(value)


def _list_in(value: Any, place: object) -> list[Any]:
    if isinstance(value, list):
        return value
    if not isinstance(value, dict):
        raise InputError("a JSON value that is no list of objects", cure=_CURE, path=place)
    found = list(_lists(value, 0))
    if len(found) > 1:
        names = ", ".join(name for name, _ in found[:4])
        raise InputError(f"several lists of objects: {names}", cure="keep the one of ads", path=place)
    if _is_record(value):
        return [value]
    if not found and _is_empty(value):
        return []
    return found[0][1] if found else _by_id(value) or [value]


def _is_empty(value: dict[str, Any]) -> bool:
    """Return whether an object is an answer of an interface that has no records."""
    return any(value.get(name) == [] for name in ("products", "items", "ads", "resources", "entries", "records"))


def _by_id(value: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the records of an object that maps ids to them, nothing if it is none."""
    if not value or not all(isinstance(each, dict) and not {"title", "name"}.isdisjoint(map(str.lower, each))
                            for each in value.values()):  # fmt: skip
        return []
    return [{"id": name, **each} for name, each in value.items()]


def _is_record(value: dict[str, Any]) -> bool:
    names = {name.lower() for name in value}
    return "title" in names and not names.isdisjoint(("id", "ad_id", "adid", "offerid", "product_id"))


def _lists(value: dict[str, Any], depth: int) -> Iterator[tuple[str, list[Any]]]:
    for name, each in value.items():
        if isinstance(each, list) and each and all(isinstance(item, dict) for item in each):
            yield name, each
        elif isinstance(each, dict) and depth < 3:
            yield from _lists(each, depth + 1)
