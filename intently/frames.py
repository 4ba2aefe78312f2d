"""Columns of values as tables: data frames of pandas or polars, and HTML for notebooks."""

import importlib
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from intently.errors import InputError, MissingDependencyError

_LIBRARIES = ("pandas", "polars")
_MAX_SHOWN = 200  # characters of one value in HTML


def to_frame(columns: Mapping[str, Sequence[Any]], library: str | None = None) -> Any:
    """Return columns as a data frame of "pandas" or "polars", by default of the one that is installed, pandas first.

    Raises `MissingDependencyError` if it is not installed.
    """
    if library is not None and library not in _LIBRARIES:
        raise InputError(f"no library {library!r}", cure=f"use one of {', '.join(_LIBRARIES)}", field="library")
    wanted = (library,) if library else _LIBRARIES
    for name in wanted:
        try:
            return importlib.import_module(name).DataFrame(dict(columns))
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
    raise MissingDependencyError(f"a data frame needs {' or '.join(wanted)}; run: pip install {wanted[0]}")


def to_html(caption: str, columns: Mapping[str, Sequence[Any]]) -> str:
    """Return columns as a table of HTML. All text is escaped: titles and addresses come from strangers."""
    rows = "".join(_row("td", row) for row in zip(*columns.values(), strict=True))
    return f"<table><caption>{escape(caption)}</caption>{_row('th', columns)}{rows}</table>"


def _row(tag: str, values: Iterable[object]) -> str:
    return f"<tr>{''.join(f'<{tag}>{_told(value)}</{tag}>' for value in values)}</tr>"


def _told(value: object) -> str:
    text = "" if value is None else str(value)
    return escape(text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…")
