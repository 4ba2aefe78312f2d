"""The fields that readers want of a file, by name, delivered in batches of rows."""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from intently.catalog.problems import Errors, quote
from intently.errors import InputError

BATCH_ROWS = 65_536
SPANS_TYPE = pa.list_(pa.struct([("text", pa.string()), ("confidence", pa.float32())]))
PAYLOAD_TYPE = pa.map_(pa.string(), pa.string())  # name → value in JSON


@dataclass(frozen=True, slots=True)
class Field:
    """A field that a reader wants: its name, its kind, and the column names it goes by, the preferred first."""

    name: str
    kind: Literal["text", "word", "number", "list", "spans", "payload", "json"] = "text"
    aliases: tuple[str, ...] = ()
    required: bool = False
    names: tuple[str, ...] | None = None  # instead of name and aliases

    @property
    def columns(self) -> tuple[str, ...]:
        """The names a column may have to be this field, folded."""
        return (self.name, *self.aliases) if self.names is None else self.names

    def optional(self) -> "Field":
        """Return the field as one that may be missing."""
        return replace(self, required=False)


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """A batch of rows: their first lines from 1 (N,), one array (N,) a field found, and the errors of rows left out.

    Arrays are strings, except for what typed formats (JSON lines, Parquet) gave as numbers or lists.
    """

    lines: npt.NDArray[np.int64]
    columns: dict[str, Any]
    errors: Errors
    # Columns that no field is called, by folded name, if asked for.
    rest: dict[str, Any] = dataclasses.field(default_factory=dict)
    num_short: int = 0  # rows whose last fields were left out, and are read as empty


def fold_name(name: str) -> str:
    """Return a column name without differences of case, blanks and punctuation: `Ad ID` and `adId` are `ad_id`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    folded = re.sub(r"[\W_]+", "_", words.lower())
    return (folded.rstrip("_") if name.strip()[:1] == "_" else folded.strip("_")) or name.strip()


def match_fields(header: Sequence[str], fields: Iterable[Field], path: object = None) -> dict[str, str]:
    """Return field name → column name for the fields found in `header`; columns without a name are none.

    Raises InputError for a required field that is missing and for one whose column is named twice.
    """
    columns: dict[str, list[str]] = {}
    for name in header:
        if name.strip():
            columns.setdefault(fold_name(name), []).append(name)
    matched = {}
    for field in fields:
        column = next((columns[name] for name in field.columns if name in columns), None)
        if column is not None and len(column) > 1:
            problem = f"the header names a column twice: {', '.join(column)}"
            raise InputError(problem, cure="keep one of them", path=path, line=1, field=field.name)
        if column is not None:
            matched[field.name] = column[0]
        elif field.required:
            names = ", ".join(field.columns[:8]) + (", …" if len(field.columns) > 8 else "")
            cure = f"name a column {field.name} ({names}); the header has: {quote(', '.join(header), 200)}"
            raise InputError("no such column", cure=cure, path=path, line=1, field=field.name)
    return matched


def unmatched(header: Sequence[str], matched: Mapping[str, str]) -> dict[str, str]:
    """Return folded name → column name for the columns that no field is called; without those named twice."""
    taken = set(matched.values())
    others: dict[str, list[str]] = {}
    for name in header:
        if name.strip() and name not in taken:
            others.setdefault(fold_name(name), []).append(name)
    return {name: columns[0] for name, columns in others.items() if len(columns) == 1}


def num_named(header: Sequence[str]) -> int:
    """Return how many fields a row needs: Excel writes empty ones after them, in the header and in rows."""
    return max((at for at, name in enumerate(header, start=1) if name.strip()), default=0)


def wrong_count(found: int, wanted: int) -> str:
    """Return the problem of a row with `found` fields under a header with `wanted`."""
    return f"{found} fields where {wanted} are expected"
