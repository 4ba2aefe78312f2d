"""Rows out of Parquet, with the types its schema gives them."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from intently.catalog.fields import BATCH_ROWS, SPANS_TYPE, Field, Rows, match_fields
from intently.catalog.lines import open_input
from intently.errors import InputError


def parquet_columns(path: Path) -> tuple[str, ...]:
    """Return the column names of a Parquet file. Raises InputError for a file that cannot be read."""
    with open_input(path) as stream:
        return tuple(pq.ParquetFile(stream).schema_arrow.names)


def read_parquet(path: Path, fields: Sequence[Field]) -> Iterator[Rows]:
    """Read rows out of a Parquet file; a line is a row from 1. Raises InputError for a column of a wrong type."""
    with open_input(path) as stream:
        parquet = pq.ParquetFile(stream)
        matched = match_fields(parquet.schema_arrow.names, fields, path)
        first = 1
        for batch in parquet.iter_batches(BATCH_ROWS, columns=list(matched.values())):
            columns = {f.name: _convert(batch[matched[f.name]], f, path) for f in fields if f.name in matched}
            yield Rows(np.arange(first, first + len(batch), dtype=np.int64), columns, [])
            first += len(batch)


def _convert(column: Any, field: Field, path: Path) -> Any:
    given = column.type
    if pa.types.is_dictionary(given):
        column = column.dictionary_decode()
        given = column.type
    if _is_string(given):
        wanted = pa.string()  # of any kind: numbers and lists are parsed as they are in TSV
    elif field.kind == "text" and (pa.types.is_integer(given) or pa.types.is_null(given)):
        wanted = pa.string()
    elif field.kind == "number" and (_is_number(given) or pa.types.is_null(given)):
        wanted = pa.float64()
    elif field.kind == "list" and (pa.types.is_null(given) or _is_list_of(given, _is_string)):
        wanted = pa.list_(pa.string())
    elif field.kind == "spans" and (pa.types.is_null(given) or _is_list_of(given, pa.types.is_struct)):
        wanted = SPANS_TYPE
    else:
        raise InputError(f"a Parquet column of type {given}, which is no {field.kind}", path=path, field=field.name)
    try:
        converted = pc.cast(column, wanted)
        converted.validate(full=True)  # Parquet does not promise that its strings are UTF-8
    except pa.ArrowInvalid as error:
        raise InputError(f"the column cannot be read: {error}", path=path, field=field.name) from None
    return converted


def _is_string(given: Any) -> bool:
    types = pa.types
    return bool(types.is_string(given) or types.is_large_string(given) or types.is_string_view(given))


def _is_number(given: Any) -> bool:
    types = pa.types
    return bool(types.is_integer(given) or types.is_floating(given) or types.is_decimal(given))


def _is_list_of(given: Any, is_item: Callable[[Any], bool]) -> bool:
    return bool(pa.types.is_list(given) or pa.types.is_large_list(given)) and bool(is_item(given.value_type))
