"""What an ad asks of users and of the time beyond lists: a condition, and the instants at which it comes and goes."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from intently.catalog.targeting_values import country, device, language
from intently.errors import InputError
from intently.filters import AllOf, AnyOf, Compare, Expression, Not, OneOf
from intently.rules.targeting import parse_targeting

_FOLDS = {"country": country, "language": language, "device": device}
_INSTANT_CURE = "write the date, the time and the zone: 2026-12-01T00:00:00+01:00"


@lru_cache(maxsize=65_536)
def targeting(text: str) -> str:
    """Return a condition on users in the words of the catalog: a country as its code. `InputError` for what is none."""
    try:
        return str(_folded(parse_targeting(text)))
    except InputError as error:
        raise InputError(error.problem, cure=error.cure, field="targeting") from None


@lru_cache(maxsize=65_536)
def instant(text: str) -> str:
    """Return an instant of ISO 8601 in UTC. Raises `InputError` for a time without a zone, which is no instant."""
    try:
        found = datetime.fromisoformat(text.strip())
        if found.utcoffset() is None:
            raise InputError(f"{text!r} has no time zone", cure=_INSTANT_CURE)
        return found.astimezone(UTC).isoformat()
    except (ValueError, OverflowError):
        raise InputError(f"{text!r} is not an instant", cure=_INSTANT_CURE) from None


def seconds(text: str) -> float:
    """Return the seconds since 1970 of an instant that `instant` returned."""
    return datetime.fromisoformat(text).timestamp()


def _folded(expression: Expression) -> Expression:
    if isinstance(expression, Not):
        return Not(_folded(expression.part))
    if isinstance(expression, AllOf | AnyOf):
        return type(expression)(tuple(_folded(part) for part in expression.conditions))
    fold = _FOLDS.get(getattr(expression, "name", ""))
    if isinstance(expression, Compare | OneOf) and expression.name == "audiences":
        raise InputError("a user has several audiences", cure='write audiences has "new customers"')
    if fold is None:
        return expression
    if isinstance(expression, Compare):
        return Compare(expression.name, expression.operator, fold(_text(expression.value)))
    if isinstance(expression, OneOf):
        return OneOf(expression.name, tuple(fold(_text(value)) for value in expression.values))
    return expression


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise InputError(f"expected a text, got {value!r}", cure='write country == "DE"')
    return value
