"""Boolean targeting: a condition on the user that an ad carries, such as `country in ("DE", "AT") and age >= 18`.

It is written in the language of filters (`intently.filters`), of users instead of ads. Of a value that the user did not
state nothing is known: every comparison with it is *unknown*, and so is its `not`. An ad is shown only where its
condition is true, so an unknown one refuses. Whoever wants to admit such users says so: `age >= 18 or age is missing`.

A condition becomes conjunctions, any one of which admits (Whang et al., Indexing Boolean Expressions, VLDB 2009).
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

from intently.errors import InputError
from intently.filters import AllOf, AnyOf, Compare, Expression, Has, IsMissing, Not, OneOf, parse
from intently.filters.expressions import Leaf

Truth = bool | None  # None: unknown
MAX_CONJUNCTIONS = 64  # of one condition
_MAX_LITERALS = 256  # of one condition


@dataclass(frozen=True, slots=True)
class Conjunction:
    """Conditions on single values that all have to be true, and those that have to be false."""

    true: frozenset[Leaf]
    false: frozenset[Leaf]


@lru_cache(maxsize=65_536)
def parse_targeting(text: str) -> Expression:
    """Return the condition that `text` is. Raises `InputError` for what is none, or is of too many conjunctions."""
    expression = parse(text)
    conjunctions(expression)
    return expression


def truth(expression: Expression, user: Mapping[str, Any]) -> Truth:
    """Return whether a condition is true of a user, None where that is unknown. Obvious and slow."""
    if isinstance(expression, Not):
        inside = truth(expression.part, user)
        return None if inside is None else not inside
    if isinstance(expression, AllOf | AnyOf):
        found = [truth(part, user) for part in expression.conditions]
        decisive = isinstance(expression, AnyOf)
        return decisive if decisive in found else None if None in found else not decisive
    assert isinstance(expression, Leaf)
    return truth_of_leaf(expression, user)


def truth_of_leaf(leaf: Leaf, user: Mapping[str, Any]) -> Truth:
    """Return whether a condition on one value is true of a user, None if the user did not state the value."""
    value = user.get(leaf.name)
    if isinstance(leaf, IsMissing):
        return value is None
    if value is None:
        return None
    if isinstance(leaf, Has):
        return isinstance(value, frozenset) and keyed(leaf.value) in {keyed(item) for item in value}
    if isinstance(leaf, OneOf):
        return keyed(value) in {keyed(one) for one in leaf.values}
    assert isinstance(leaf, Compare)
    if leaf.operator == "==":
        return keyed(value) == keyed(leaf.value)
    if leaf.operator == "!=":
        return keyed(value) != keyed(leaf.value)
    if _kind(value) != _kind(leaf.value) or isinstance(value, bool | frozenset):
        return False
    order: dict[str, Callable[[Any, Any], bool]] = {
        "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge
    }  # fmt: skip
    return order[leaf.operator](value, leaf.value)


def keyed(value: Any) -> tuple[str, Any]:
    """Return a value with its kind, so that 1 and true are two."""
    return _kind(value), value


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else "list"


def conjunctions(expression: Expression) -> tuple[Conjunction, ...]:
    """Return the conjunctions of a condition. Raises `InputError` if they are more than `MAX_CONJUNCTIONS`.

    What is to be false is so only of a value that is known. A conjunction that contradicts itself is left out.
    """
    if sum(1 for _ in expression.leaves()) > _MAX_LITERALS:
        raise InputError(f"over {_MAX_LITERALS} comparisons", cure="write lists: country in (…)", field="targeting")
    return tuple(dict.fromkeys(each for each in _normal(expression, True) if not each.true & each.false))


def _normal(expression: Expression, wanted: bool) -> list[Conjunction]:
    if isinstance(expression, Not):
        return _normal(expression.part, not wanted)
    if isinstance(expression, Leaf):
        own = frozenset((expression,))
        return [Conjunction(own, frozenset()) if wanted else Conjunction(frozenset(), own)]
    parts = [_normal(part, wanted) for part in expression.parts]
    if isinstance(expression, AnyOf) == wanted:
        found = [each for part in parts for each in part]
    else:
        found = [Conjunction(frozenset(), frozenset())]
        for part in parts:
            found = [_both(first, second) for first, second in product(found, part)]
            _check_number(found)
    _check_number(found)
    return found


def _check_number(found: list[Conjunction]) -> None:
    if len(found) > MAX_CONJUNCTIONS:
        problem = f"the condition is over {MAX_CONJUNCTIONS} conjunctions"
        raise InputError(problem, cure="write lists instead of alternatives: country in (…)", field="targeting")


def _both(first: Conjunction, second: Conjunction) -> Conjunction:
    return Conjunction(first.true | second.true, first.false | second.false)
