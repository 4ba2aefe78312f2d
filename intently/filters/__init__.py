"""A small language of conditions on the columns of ads: as text, and as Python objects."""

from intently.filters.expressions import (
    AllOf,
    AnyOf,
    Column,
    Compare,
    Expression,
    Has,
    IsMissing,
    Literal,
    Not,
    OneOf,
    column,
)
from intently.filters.parse import MAX_LENGTH, as_expression, parse

__all__ = [
    "MAX_LENGTH",
    "AllOf",
    "AnyOf",
    "Column",
    "Compare",
    "Expression",
    "Has",
    "IsMissing",
    "Literal",
    "Not",
    "OneOf",
    "as_expression",
    "column",
    "parse",
]
