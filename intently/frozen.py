"""Values of JSON that cannot be changed, so that records which hold them can be shared, compared and hashed."""

import math
from collections.abc import Mapping
from typing import Any, NoReturn

from intently.errors import InputError

MAX_DEPTH = 20  # of values inside values
MAX_NAME_LENGTH = 100  # characters of a key
_LARGEST = 2**1000  # of a number: a larger one is no float

JSONValue = Any  # None, bool, int, float, str, a tuple of values, or a `FrozenDict`


class FrozenDict(dict[str, JSONValue]):
    """A mapping of texts to values of JSON that cannot be changed, and can be hashed. Equal to a dict of the same."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple[type["FrozenDict"], tuple[dict[str, JSONValue]]]:
        return FrozenDict, (dict(self),)

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("a FrozenDict cannot be changed; make a dict of it: {**values, ...}")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse


EMPTY = FrozenDict()


def frozen(values: object, field: str) -> FrozenDict:
    """Return a mapping of JSON values, frozen; what is None is left out, as it is missing.

    Lists become tuples, mappings inside become `FrozenDict`. Raises `InputError` naming `field` and the key for a value
    that JSON does not have: a date, NaN.
    """
    if type(values) is FrozenDict:
        return values
    if not isinstance(values, Mapping):
        told = type(values).__name__
        raise InputError(f"expected a mapping, got {told}", cure=f'write {field}={{"price": 19.9}}', field=field)
    found: dict[str, JSONValue] = {}
    for name, value in values.items():
        if not isinstance(name, str) or not name.strip() or len(name) > MAX_NAME_LENGTH:
            cure = f"use a text of up to {MAX_NAME_LENGTH} characters"
            raise InputError(f"{name!r} is not a name"[:200], cure=cure, field=field)
        if value is not None:
            found[name] = _frozen(value, field, name, 1)
    return FrozenDict(found) if found else EMPTY


def _frozen(value: object, field: str, name: str, depth: int) -> JSONValue:
    if value is None or type(value) is bool:
        return value
    if isinstance(value, str):
        if not _is_unicode(value):
            problem = f"{name!r} is not valid Unicode (a lone surrogate)"
            raise InputError(problem, cure="pass text read as UTF-8", field=field)
        return str(value)
    if isinstance(value, int) and abs(value) < _LARGEST:
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if depth < MAX_DEPTH and isinstance(value, list | tuple):
        return tuple(_frozen(each, field, name, depth + 1) for each in value)
    if depth < MAX_DEPTH and isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return FrozenDict({key: _frozen(each, field, name, depth + 1) for key, each in value.items()})
    cure = "use texts, finite numbers, True, False, None, and lists and mappings of these"
    told = repr(value)
    told = told if len(told) <= 60 else told[:59] + "…"
    raise InputError(f"{name!r} holds {type(value).__name__} {told}, which JSON does not have", cure=cure, field=field)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
