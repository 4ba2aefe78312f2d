"""What readers ask of a file: fields by name, delivered in batches of rows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from intently.catalog.problems import quote
from intently.errors import InputError

BATCH_ROWS = 65_536
SPANS_TYPE = pa.list_(pa.struct([("text", pa.string()), ("confidence", pa.float32())]))


@dataclass(frozen=True, slots=True)
class Field:
    """A field that a reader wants: its name, its kind, and the column names it goes by, the preferred first."""

    name: str
    kind: Literal["text", "number", "list", "spans"] = "text"
    aliases: tuple[str, ...] = ()
    required: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The names a column may have to be this field."""
        return (self.name, *self.aliases)

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
    errors: list[InputError]


def match_fields(header: Sequence[str], fields: Iterable[Field], path: object = None) -> dict[str, str]:
    """Return field name → column name for the fields found in `header`.

    Raises InputError for a required field that is missing and for a column named twice.
    """
    columns = {name.strip().lower(): name for name in reversed(header)}
    if len(columns) < len(header):
        raise InputError(f"the header names a column twice: {', '.join(header)}", path=path, line=1)
    matched = {}
    for field in fields:
        column = next((columns[name] for name in field.columns if name in columns), None)
        if column is not None:
            matched[field.name] = column
        elif field.required:
            cure = f"name a column {' or '.join(field.columns)}; the header has: {quote(', '.join(header), 200)}"
            raise InputError("no such column", cure=cure, path=path, line=1, field=field.name)
    return matched


def wrong_count(found: int, wanted: int) -> str:
    """Return the problem of a row with `found` fields under a header with `wanted`."""
    return f"{found} fields where {wanted} are expected"
