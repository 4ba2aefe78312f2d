"""Rows out of Parquet, with the types its schema gives them, as pandas, polars and Spark write it."""

from collections.abc import Callable, Iterator, Sequence
from datetime import date, time
from decimal import Decimal
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from intently.catalog.fields import BATCH_ROWS, PAYLOAD_TYPE, SPANS_TYPE, Field, Rows, match_fields, unmatched
from intently.catalog.lines import check_expansion, open_input
from intently.catalog.problems import RowCheck, quote
from intently.catalog.records import to_json
from intently.errors import InputError

_SLICE_BYTES = 64 << 20  # of decoded text at once
_MAX_EXACT = 2.0**53  # above it a float has lost digits of an id


def parquet_columns(path: Path) -> tuple[str, ...]:
    """Return the column names of a Parquet file. Raises InputError for a file that cannot be read."""
    if str(path) == "-" or (path.exists() and not path.is_file() and not path.is_dir()):
        raise InputError("Parquet cannot be read from a pipe", cure="write it to a file first", path=path)
    with open_input(path, may_be_compressed=False) as stream:
        return tuple(pq.ParquetFile(stream).schema_arrow.names)


def read_parquet(path: Path, fields: Sequence[Field], *, rest: bool = False) -> Iterator[Rows]:
    """Read rows out of a Parquet file; a line is a row from 1. Raises InputError for a column of a wrong type.

    With `rest` also the columns that no field is called, in JSON, unless they are of a type that JSON does not have.
    Text stays dictionary-encoded until its size is known: a small file may hold much of it.
    """
    with open_input(path, may_be_compressed=False) as stream:
        parquet = pq.ParquetFile(stream)
        names = parquet.schema_arrow.names
        matched = match_fields(names, fields, path)
        others = unmatched(names, matched) if rest else {}
        others = {name: column for name, column in others.items() if _in_json(parquet.schema_arrow.field(column).type)}
        flat = [name for name in matched.values() if _is_string(parquet.schema_arrow.field(name).type)]
        parquet = pq.ParquetFile(stream, read_dictionary=flat)
        first, num_bytes = 1, 0
        for batch in parquet.iter_batches(BATCH_ROWS, columns=[*matched.values(), *others.values()]):
            size = sum(_decoded_bytes(column) for column in batch.columns)
            num_bytes += size
            check_expansion(num_bytes, path.stat().st_size, path)
            step = max(1, len(batch) * _SLICE_BYTES // max(size, _SLICE_BYTES))
            for start in range(0, len(batch), step):
                part = batch.slice(start, step)
                check = RowCheck(path, np.arange(first, first + len(part), dtype=np.int64))
                columns = {f.name: _convert(part[matched[f.name]], f, check) for f in fields if f.name in matched}
                left = {name: _as_json(part[column]) for name, column in others.items()}
                keep = pa.array(check.keep)
                yield Rows(
                    check.lines[check.keep],
                    {n: c.filter(keep) for n, c in columns.items()},
                    check.errors,
                    {n: c.filter(keep) for n, c in left.items()},
                )
                first += len(part)


def _decoded_bytes(column: Any) -> int:
    if not pa.types.is_dictionary(column.type) or not (_is_text(column.type.value_type)):
        return int(column.nbytes)
    lengths = pc.fill_null(pc.binary_length(column.dictionary), 0)
    return int(pc.sum(lengths.take(pc.drop_null(column.indices))).as_py() or 0)


def _convert(column: Any, field: Field, check: RowCheck) -> Any:
    column = _decoded(column)
    given = column.type
    if pa.types.is_null(given):
        return pc.cast(column, _WANTED[field.kind])
    if _is_text(given):  # of any kind: numbers and lists are parsed as they are in TSV
        return _strings(column, field, check)
    if (field.kind == "word" or field.name == "status") and _is_word(given):
        return pa.array([None if v is None else str(v).lower() for v in column.to_pylist()], pa.string())
    if field.kind == "text" and pa.types.is_integer(given):
        return pc.cast(column, pa.string())
    if field.kind == "text" and field.name.endswith("id") and (_is_number(given)):
        return _whole_numbers(column, field, check)
    if field.name == "clicks" and pa.types.is_boolean(given):
        return pc.cast(pc.cast(column, pa.int8()), pa.float64())
    if field.kind == "number" and _is_number(given):
        numbers = pc.cast(column, pa.float64(), safe=False)
        return pc.if_else(pc.is_nan(numbers), None, numbers)  # how pandas writes that there is none
    if field.kind == "list" and _is_list(given):
        items = _decoded(column.flatten())
        if pa.types.is_null(items.type):
            items = pc.cast(items, pa.string())
        if _is_text(items.type):
            return _list_like(column, _valid_strings(items, field, check.path))
    if field.kind == "payload" and (pa.types.is_struct(given) or pa.types.is_map(given)):
        payloads = [[] if each is None else dict(each).items() for each in column.to_pylist()]
        return pa.array(
            [[(k, _value_as_json(v)) for k, v in each if _value_as_json(v) is not None] for each in payloads],
            PAYLOAD_TYPE,
        )
    if field.kind == "spans" and _is_list(given) and pa.types.is_struct(given.value_type):
        try:
            return pc.cast(column, SPANS_TYPE)
        except pa.ArrowException:
            pass  # not the struct of a span
    raise InputError(
        f"a Parquet column of type {given}, which is no {field.kind}",
        cure=f"write it as {_WANTED[field.kind]}",
        path=check.path,
        field=field.name,
    )


_WANTED = {"text": pa.string(), "number": pa.float64(), "list": pa.list_(pa.string()), "spans": SPANS_TYPE}
_WANTED |= {"payload": PAYLOAD_TYPE, "word": pa.string()}


def _in_json(given: Any) -> bool:
    """Return whether values of a type can be written in JSON."""
    types = pa.types
    if types.is_dictionary(given):
        return _in_json(given.value_type)
    if _is_list(given):
        return _in_json(given.value_type)
    if types.is_struct(given):
        return all(_in_json(given.field(at).type) for at in range(given.num_fields))
    if types.is_map(given):
        return _is_string(given.key_type) and _in_json(given.item_type)
    return bool(
        _is_string(given) or types.is_string_view(given) or _is_number(given) or types.is_boolean(given)
        or types.is_null(given) or types.is_date(given) or types.is_timestamp(given) or types.is_time(given)
    )  # fmt: skip


def _as_json(column: Any) -> Any:
    """Return the values of a column in JSON, with null for null and NaN. Equal texts are written once."""
    column = _decoded(column)
    if not _is_string(column.type):
        return pa.array([_value_as_json(value) for value in column.to_pylist()], pa.string())
    encoded = column.dictionary_encode()
    return pa.array([to_json(each) for each in encoded.dictionary.to_pylist()], pa.string()).take(encoded.indices)


def _value_as_json(value: Any) -> str | None:
    if value is None or value != value:  # NaN, which is how pandas writes that there is none
        return None
    return to_json(_plain(value))


def _plain(value: Any) -> Any:
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, float) and not isfinite(value):
        return None
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list) and value and all(isinstance(each, tuple) for each in value):  # a map
        return {name: _plain(each) for name, each in value}
    return list(map(_plain, value)) if isinstance(value, list) else value


def _is_word(given: Any) -> bool:
    types = pa.types
    return bool(types.is_boolean(given) or _is_number(given) or types.is_date(given) or types.is_timestamp(given))


def _decoded(column: Any) -> Any:
    """Return a column as plain values: no dictionaries, no extension types."""
    if isinstance(column.type, pa.BaseExtensionType):
        column = column.storage
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _list_like(column: Any, items: Any) -> Any:
    """Return the lists of `column` (N,) of whatever kind with `items`, its values without those of null rows."""
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), items)


def _strings(column: Any, field: Field, check: RowCheck) -> Any:
    """Return a column of text or bytes as strings; a row that is not UTF-8 is rejected."""
    try:
        return _valid_strings(column, field, check.path)
    except InputError:
        values = pc.cast(column, pa.binary()).to_pylist()
    wrong = np.array([value is not None and not _is_utf8(value) for value in values], dtype=np.bool_)
    check.reject(wrong, field.name, "not UTF-8", "write text as UTF-8")
    return pa.array([None if bad else value for bad, value in zip(wrong, values, strict=True)], pa.binary()).cast(
        pa.string()
    )


def _valid_strings(items: Any, field: Field, path: object) -> Any:
    try:
        strings = pc.cast(pc.cast(items, pa.binary()), pa.string())
        strings.validate(full=True)  # Parquet does not promise that its strings are UTF-8
    except pa.ArrowInvalid as error:
        raise InputError(f"the column cannot be read: {error}", path=path, field=field.name) from None
    return strings


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _whole_numbers(column: Any, field: Field, check: RowCheck) -> Any:
    """Return ids that were written as floats or decimals, which happens where one is missing, as whole numbers."""
    values = column.to_pylist()
    exact = np.array(
        [v is None or v != v or (v == v // 1 and (not isinstance(v, float) or abs(v) <= _MAX_EXACT)) for v in values],
        dtype=np.bool_,
    )
    cure = "write ids as text or as integers"
    check.reject(~exact, field.name, lambda row: f"{quote(str(values[row]))} is no whole number", cure)
    return pa.array(
        [str(int(v)) if ok and v is not None and v == v else None for ok, v in zip(exact, values, strict=True)],
        pa.string(),
    )


def _is_string(given: Any) -> bool:
    return bool(pa.types.is_string(given) or pa.types.is_large_string(given))


def _is_text(given: Any) -> bool:
    types = pa.types
    return _is_string(given) or bool(
        types.is_string_view(given)
        or types.is_binary(given)
        or types.is_large_binary(given)
        or types.is_binary_view(given)
        or types.is_fixed_size_binary(given)
    )


def _is_number(given: Any) -> bool:
    types = pa.types
    return bool(types.is_integer(given) or types.is_floating(given) or types.is_decimal(given))


def _is_list(given: Any) -> bool:
    types = pa.types
    kinds: tuple[Callable[[Any], bool], ...] = (
        types.is_list,
        types.is_large_list,
        types.is_fixed_size_list,
        types.is_list_view,
        types.is_large_list_view,
    )
    return any(is_kind(given) for is_kind in kinds)
