"""Payloads as a column: what a catalog keeps of an ad beside its fields, name by name, each value in JSON.

In a file every column that no field is called goes there, under its folded name: `Image Link` is `image_link`. In a
column of texts, numbers are numbers if nine values of ten are, and none is a code, which begins with a zero or has over
15 digits. An empty value is missing.
"""

import json
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from intently.arrays import IntArray, Mask
from intently.catalog.fields import PAYLOAD_TYPE, Field, fold_name
from intently.catalog.jsonl import parse_json
from intently.catalog.problems import RowCheck, quote
from intently.catalog.records import to_json
from intently.errors import InputError
from intently.frozen import EMPTY, MAX_NAME_LENGTH, FrozenDict, frozen
from intently.types import AD_FIELD_NAMES

MAX_PAYLOAD_LENGTH = 100_000  # characters of an ad's payload in JSON
MAX_COLUMNS = 1_000  # of a file, that go to the payload
MAX_VALUE_LENGTH = 10_000  # characters of a value in such a column; one that holds longer ones is documents
# A number as JSON writes it, of at most 15 digits before the point; and what looks like one and is a code.
_NUMBER = r"^-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?$"
_CODE = r"^(0[0-9]+|[0-9]{16,})$"
_MIN_NUMBERS = 0.9  # share of a text column's values; the others, such as "on request", stay texts
# Feeds' names → the name here; of several columns the first of these has it.
_GROUPS = ("group_id", "item_group_id", "itemgroup_id", "parent_sku", "parent_asin")
_NAME_CURE = f"use names of up to {MAX_NAME_LENGTH} characters that no field has"
_LENGTH_CURE = "leave columns out"
_NO_ROWS = pa.array([], PAYLOAD_TYPE)


def payload_column(payloads: Iterable[FrozenDict]) -> pa.Array:
    """Return payloads (N) as a column."""
    return pa.array([[(name, to_json(value)) for name, value in each.items()] for each in payloads], PAYLOAD_TYPE)


def payload_of(pairs: Sequence[tuple[str, str]] | None) -> FrozenDict:
    """Return one value of the column as the payload that it holds."""
    return frozen({name: json.loads(value) for name, value in pairs}, "payload") if pairs else EMPTY


def checked_payload(values: object) -> FrozenDict:
    """Return a payload, frozen; raise `InputError` for one that a catalog does not take."""
    payload = frozen(values, "payload")
    for name in payload:
        if not is_name(name):
            raise InputError(f"{quote(name)} cannot be a name in the payload", cure=_NAME_CURE, field="payload")
    length = sum(len(to_json(value) or "") for value in payload.values())
    if length > MAX_PAYLOAD_LENGTH:
        problem = f"{length:,} characters, over the limit of {MAX_PAYLOAD_LENGTH:,}"
        raise InputError(problem, cure=_LENGTH_CURE, field="payload")
    return payload


def flat(column: pa.Array) -> tuple[pa.Array, pa.Array, IntArray]:
    """Return the names, the values in JSON and the rows (V,) of all values of a column that has no nulls."""
    offsets = column.offsets.to_numpy().astype(np.int64)
    first, num = int(offsets[0]), int(offsets[-1] - offsets[0])
    return (
        column.keys.slice(first, num),
        column.items.slice(first, num),
        np.repeat(np.arange(len(column)), np.diff(offsets)),
    )


def clean_payload(values: Any, field: Field, check: RowCheck) -> pa.Array:
    """Return payloads (N,) in `PAYLOAD_TYPE`, from such or from objects in JSON; rejects the rows that are wrong."""
    if values.null_count == len(values):
        return pa.MapArray.from_arrays(pa.array(np.zeros(len(values) + 1, np.int32)), _NO_ROWS.keys, _NO_ROWS.items)
    if pa.types.is_string(values.type):
        values = _parsed(values, field, check)
    elif values.null_count:
        values = pa.array([each or [] for each in values.to_pylist()], PAYLOAD_TYPE)
    names, texts, rows = flat(values)

    def reject(positions: IntArray, problem: str, cure: str) -> None:
        wrong = np.zeros(len(values), dtype=np.bool_)
        wrong[rows[positions]] = True
        check.reject(wrong, field.name, problem, cure)

    for name in pc.unique(names).to_pylist():
        if not is_name(name):
            where = np.flatnonzero(pc.equal(names, name).to_numpy(zero_copy_only=False))
            reject(where, f"{quote(name)} cannot be a name in the payload", _NAME_CURE)
    nested = np.flatnonzero(pc.match_substring_regex(texts, r"^[\[{]").to_numpy(zero_copy_only=False))
    deep = [at for at in nested.tolist() if not _is_flat_enough(texts[at].as_py())]
    reject(np.array(deep, dtype=np.int64), "a value that is nested too deeply", "give a flatter one")
    lengths = pc.utf8_length(texts).to_numpy(zero_copy_only=False)
    check_lengths(np.bincount(rows, lengths, len(values)), field, check)
    return values


def payload_name(column: str) -> str:
    """Return the name in the payload of a file's column."""
    folded = fold_name(column)
    return "group_id" if folded in _GROUPS else folded


def is_name(name: str) -> bool:
    """Return whether a payload may have this name: one that no field has, and not too long."""
    return bool(name.strip()) and len(name) <= MAX_NAME_LENGTH and name not in AD_FIELD_NAMES


def check_lengths(lengths: Any, field: Field, check: RowCheck) -> None:
    """Reject the rows whose payloads are of so many characters (N,) that they are documents."""
    check.reject(
        lengths > MAX_PAYLOAD_LENGTH,
        field.name,
        lambda row: f"{int(lengths[row]):,} characters, over the limit of {MAX_PAYLOAD_LENGTH:,}",
        _LENGTH_CURE,
    )


def rest_of(rest: Mapping[str, Any], num_rows: int) -> tuple[pa.Table, set[str]]:
    """Return the columns (N,) that no field is called, trimmed, missing values null; and the names of unfit ones.

    Unfit is a column whose name is, and one that holds a value of over `MAX_VALUE_LENGTH` characters.
    """
    trimmed: dict[str, Any] = {"": pa.nulls(num_rows, pa.string())}
    unfit = set()
    groups = sorted((fold_name(column) for column in rest if fold_name(column) in _GROUPS), key=_GROUPS.index)
    for column, values in rest.items():
        folded, texts = fold_name(column), pc.utf8_trim_whitespace(values)
        name = folded if folded in groups[1:] else payload_name(column)
        if is_name(name) and (pc.max(pc.utf8_length(texts)).as_py() or 0) <= MAX_VALUE_LENGTH:
            trimmed[name] = pc.if_else(pc.equal(texts, ""), None, texts)
        else:
            unfit.add(name)
    return pa.table(trimmed), unfit


def with_rest(
    payloads: pa.ChunkedArray,
    rest: Sequence[pa.Table],
    *,
    in_json: bool | Container[str],
    path: object,
) -> pa.ChunkedArray:
    """Return payloads (N,) with the columns of `rest`, tables (N, …) in all. A payload's own value of a name stays.

    `in_json` says which columns are in JSON: all, none, or these. Raises `InputError` for more than `MAX_COLUMNS`.
    """
    table = pa.concat_tables(rest, promote_options="default") if rest else pa.table({})
    names = [name for name in table.column_names if name]
    if len(names) > MAX_COLUMNS:
        cure = "keep those that answers or filters need"
        raise InputError(f"{len(names):,} columns that no field is called", cure=cure, path=path)
    if not names or not len(payloads):
        return payloads
    written = names if in_json is True else () if in_json is False else in_json
    columns = {name: table[name] if name in written else _in_json(table[name]) for name in names}
    joined = pa.table({"": payloads.combine_chunks() if payloads.num_chunks != 1 else payloads, **columns})
    return pa.chunked_array([_joined(batch, names) for batch in joined.to_batches(65_536)], PAYLOAD_TYPE)


def _joined(batch: pa.RecordBatch, names: Sequence[str]) -> pa.Array:
    """Return the payloads of a batch, its column "", with the columns `names`, which are in JSON."""
    num_rows = batch.num_rows
    own_names, own_texts, own_rows = flat(batch.column(0))
    there = [pc.is_valid(batch.column(name)).to_numpy(zero_copy_only=False) for name in names]
    if len(own_names):
        for mask, name in zip(there, names, strict=True):
            mask &= ~np.isin(np.arange(num_rows), own_rows[pc.equal(own_names, name).to_numpy(zero_copy_only=False)])
    rows = np.concatenate([own_rows, *(np.flatnonzero(mask) for mask in there)])
    order = np.argsort(rows, kind="stable")
    keys = pa.array(names, pa.string()).take(
        pa.array(np.concatenate([np.full(mask.sum(), at) for at, mask in enumerate(there)]))
    )
    texts = [batch.column(name).filter(pa.array(mask)) for name, mask in zip(names, there, strict=True)]
    offsets = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=num_rows)))).astype(np.int32)
    return pa.MapArray.from_arrays(
        pa.array(offsets),
        pa.concat_arrays([own_names, keys]).take(pa.array(order)),
        pa.concat_arrays([own_texts, *texts]).take(pa.array(order)),
    )


def _in_json(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return texts in JSON: as numbers where they are, if the column is one of numbers, else as strings."""
    share = pc.mean(pc.match_substring_regex(column, _NUMBER).cast(pa.float64())).as_py() or 0.0
    of_numbers = share >= _MIN_NUMBERS and not pc.any(pc.match_substring_regex(column, _CODE)).as_py()
    chunks = []
    for chunk in column.chunks:
        encoded = chunk.dictionary_encode()
        texts = pa.array([to_json(text) for text in encoded.dictionary.to_pylist()], pa.string())
        if of_numbers:
            is_number = pc.match_substring_regex(encoded.dictionary, _NUMBER)
            texts = pc.if_else(is_number, encoded.dictionary, texts)
        chunks.append(texts.take(encoded.indices))
    return pa.chunked_array(chunks, pa.string())


def _parsed(values: pa.Array, field: Field, check: RowCheck) -> pa.Array:
    """Return the payloads that are written as objects in JSON."""
    payloads: list[list[tuple[str, str | None]]] = []
    wrong: Mask = np.zeros(len(values), dtype=np.bool_)
    for row, text in enumerate(pc.utf8_trim_whitespace(pc.fill_null(values, "")).to_pylist()):
        try:
            parsed = parse_json(text) if text else {}
        except ValueError:
            parsed = None
        wrong[row] = not isinstance(parsed, dict)
        payloads.append(
            [(k, to_json(v)) for k, v in parsed.items() if v is not None] if isinstance(parsed, dict) else []
        )
    check.reject(wrong, field.name, "not an object in JSON", 'write {"price": 19.9}')
    return pa.array(payloads, PAYLOAD_TYPE)


def _is_flat_enough(text: str) -> bool:
    try:
        frozen({"value": json.loads(text)}, "payload")
    except (InputError, RecursionError):
        return False
    return True
