"""Conditions as objects. `column("price") < 50` is one, `&`, `|` and `~` combine them, and `str` writes them as text.

A condition is true or false of every ad. Whatever is said of a missing value is false, but for `is missing`; `not` of
that is true.
"""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from intently.errors import InputError

Literal = bool | int | float | str
OPERATORS = ("==", "!=", "<", "<=", ">", ">=")
MAX_DEPTH = 50  # of conditions inside conditions
MAX_VALUES = 10_000  # of one list
KEYWORDS = frozenset(("and", "or", "not", "in", "has", "is", "missing", "true", "false"))
NAME = re.compile(r"[^\W\d]\w*")


class Expression:
    """A condition on the columns of an ad. Frozen and hashable; equal if it is written the same."""

    __slots__ = ()

    def __and__(self, other: "Expression") -> "Expression":
        return AllOf((self, _checked(other)))

    def __or__(self, other: "Expression") -> "Expression":
        return AnyOf((self, _checked(other)))

    def __invert__(self) -> "Expression":
        return Not(self)

    def __bool__(self) -> bool:
        raise InputError(
            "a condition is neither true nor false by itself",
            cure="combine conditions by &, | and ~, each in parentheses, not by and, or and not",
            field="filters",
        )

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    @property
    def parts(self) -> tuple["Expression", ...]:
        """The conditions that this one combines."""
        return ()

    def leaves(self) -> Iterator["Leaf"]:
        """Yield the conditions on single columns. Raises `InputError` for conditions nested too deeply."""
        return self._leaves(1)

    def _leaves(self, depth: int) -> Iterator["Leaf"]:
        if depth > MAX_DEPTH:
            raise InputError(f"over {MAX_DEPTH} conditions inside each other", cure="nest fewer", field="filters")
        if isinstance(self, Leaf):
            yield self
        for part in self.parts:
            yield from part._leaves(depth + 1)


class Leaf(Expression):
    """A condition on one column."""

    __slots__ = ()
    name: str  # of the column


@dataclass(frozen=True, slots=True, eq=False)
class Compare(Leaf):
    """A column's value compared with another: `price < 50`, `brand == "Acme"`. Texts compare by code points."""

    name: str
    operator: str  # one of `OPERATORS`
    value: Literal

    def __post_init__(self) -> None:
        _check_name(self.name)
        if self.operator not in OPERATORS:
            raise InputError(f"no operator {self.operator!r}", cure=f"use {', '.join(OPERATORS)}", field="filters")
        _check_literal(self.value)
        if type(self.value) is bool and self.operator not in ("==", "!="):
            cure = "use == or !="
            raise InputError(f"true and false have no order, so no {self.operator}", cure=cure, field="filters")

    def __str__(self) -> str:
        return f"{_name(self.name)} {self.operator} {_told(self.value)}"


@dataclass(frozen=True, slots=True, eq=False)
class OneOf(Leaf):
    """A column's value is one of several: `category in ("shoes", "靴子")`."""

    name: str
    values: tuple[Literal, ...]

    def __post_init__(self) -> None:
        _check_name(self.name)
        if not self.values or len(self.values) > MAX_VALUES:
            problem = f"a list of {len(self.values):,} values"
            raise InputError(problem, cure=f"give from one to {MAX_VALUES:,} values", field="filters")
        for value in self.values:
            _check_literal(value)

    def __str__(self) -> str:
        return f"{_name(self.name)} in ({', '.join(map(_told, self.values))})"


@dataclass(frozen=True, slots=True, eq=False)
class Has(Leaf):
    """A column that holds lists has a value in its list: `colors has "red"`."""

    name: str
    value: Literal

    def __post_init__(self) -> None:
        _check_name(self.name)
        _check_literal(self.value)

    def __str__(self) -> str:
        return f"{_name(self.name)} has {_told(self.value)}"


@dataclass(frozen=True, slots=True, eq=False)
class IsMissing(Leaf):
    """An ad has no value in a column: null, an empty text or an empty list."""

    name: str

    def __post_init__(self) -> None:
        _check_name(self.name)

    def __str__(self) -> str:
        return f"{_name(self.name)} is missing"


@dataclass(frozen=True, slots=True, eq=False)
class Not(Expression):
    """The condition is false."""

    part: Expression

    @property
    def parts(self) -> tuple[Expression, ...]:
        """The one condition."""
        return (self.part,)

    def __str__(self) -> str:
        return f"not {_inside(self.part)}"


@dataclass(frozen=True, slots=True, eq=False)
class AllOf(Expression):
    """All conditions are true."""

    conditions: tuple[Expression, ...]

    @property
    def parts(self) -> tuple[Expression, ...]:
        """The conditions."""
        return self.conditions

    def __str__(self) -> str:
        return " and ".join(map(_inside, self.conditions))


@dataclass(frozen=True, slots=True, eq=False)
class AnyOf(Expression):
    """At least one condition is true."""

    conditions: tuple[Expression, ...]

    @property
    def parts(self) -> tuple[Expression, ...]:
        """The conditions."""
        return self.conditions

    def __str__(self) -> str:
        return " or ".join(map(_inside, self.conditions))


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """A column, to make conditions of: `column("price") < 50`."""

    name: str

    def __eq__(self, value: object) -> Compare:  # type: ignore[override]
        return Compare(self.name, "==", value)  # type: ignore[arg-type]

    def __ne__(self, value: object) -> Compare:  # type: ignore[override]
        return Compare(self.name, "!=", value)  # type: ignore[arg-type]

    def __lt__(self, value: Literal) -> Compare:
        return Compare(self.name, "<", value)

    def __le__(self, value: Literal) -> Compare:
        return Compare(self.name, "<=", value)

    def __gt__(self, value: Literal) -> Compare:
        return Compare(self.name, ">", value)

    def __ge__(self, value: Literal) -> Compare:
        return Compare(self.name, ">=", value)

    __hash__ = None  # type: ignore[assignment]

    def one_of(self, values: Iterable[Literal]) -> OneOf:
        """Return the condition that the value is one of these."""
        if isinstance(values, str):
            raise InputError(f"expected a list of values, got {values!r}", cure=f"pass [{values!r}]", field="filters")
        return OneOf(self.name, tuple(values))

    def has(self, value: Literal) -> Has:
        """Return the condition that the list has this value."""
        return Has(self.name, value)

    def is_missing(self) -> IsMissing:
        """Return the condition that there is no value."""
        return IsMissing(self.name)


def column(name: str) -> Column:
    """Return a column, to make conditions of: `(column("price") < 50) & ~(column("brand") == "Acme")`."""
    _check_name(name)
    return Column(name)


def _checked(value: object) -> Expression:
    if not isinstance(value, Expression):
        raise InputError(
            f"{value!r} is not a condition"[:200],
            cure='put each condition in parentheses: (column("price") < 50) & (column("brand") == "Acme")',
            field="filters",
        )
    return value


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not name.strip() or "`" in name:
        raise InputError(f"{name!r} is not the name of a column"[:200], cure='write "price"', field="filters")


def _check_literal(value: Any) -> None:
    is_number = math.isfinite(value) if isinstance(value, float) else isinstance(value, int) and abs(value) < 2**1000
    if not is_number and not isinstance(value, str):
        cure = 'compare with a text, a finite number, True or False; for no value write column("price").is_missing()'
        raise InputError(f"cannot compare with {value!r}"[:200], cure=cure, field="filters")


def _inside(part: Expression) -> str:
    return f"({part})" if isinstance(part, AllOf | AnyOf) else str(part)


def _name(name: str) -> str:
    return name if NAME.fullmatch(name) and name.lower() not in KEYWORDS else f"`{name}`"


def _told(value: Literal) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
        return f'"{escaped}"'
    return repr(float(value)) if isinstance(value, float) else repr(int(value))
