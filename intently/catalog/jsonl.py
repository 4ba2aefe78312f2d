"""Rows out of JSON lines: one object a line, its keys the columns."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from intently.catalog.fields import PAYLOAD_TYPE, SPANS_TYPE, Field, Rows, match_fields, unmatched
from intently.catalog.lines import Lines, read_lines
from intently.catalog.problems import Errors, RowCheck
from intently.errors import InputError
from intently.files import atomic_write


def parse_json(text: str) -> Any:
    """Return the JSON value that `text` is. Raises ValueError also for NaN, infinity and halves of surrogate pairs."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if "\\ud" in text.lower():  # an escape that is half of a pair is no character, and UTF-8 cannot hold it
        json.dumps(value, ensure_ascii=False).encode()
    return value


def read_values(path: Path, cure: str) -> Iterator[tuple[int, Any]]:
    """Yield the line number and the JSON value of every line that is not blank; `InputError` for the first bad one."""
    for lines in read_lines(path):
        if lines.errors:
            raise next(iter(lines.errors))
        for number, text in zip(lines.numbers.tolist(), lines.text.to_pylist(), strict=True):
            if not text.strip():
                continue
            try:
                value = parse_json(text)
            except ValueError as error:
                raise InputError(f"not valid JSON: {error}", cure=cure, path=path, line=number) from None
            yield number, value


def whole_lines(path: Path) -> list[str]:
    """Return the JSON lines of a file that is written line by line; from one that is torn on the file is cut off."""
    if not path.is_file():
        return []
    content = path.read_bytes()
    lines, end = [], 0
    while (stop := content.find(b"\n", end)) >= 0:  # a line may hold other line breaks
        try:
            line = content[end:stop].decode()
            json.loads(line)
        except ValueError:
            break
        lines.append(line)
        end = stop + 1
    if end < len(content):
        with atomic_write(path) as file:
            file.write(content[:end])
    return lines


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _parse_object(line: str, path: object, number: int) -> dict[str, Any]:
    try:
        value = parse_json(line)
    except ValueError as error:
        cure = "write one JSON object a line"
        raise InputError(f"not valid JSON: {error}", cure=cure, path=path, line=number) from None
    if not isinstance(value, dict):
        raise InputError(f"a JSON {_json_type(value)} where an object is expected", path=path, line=number)
    return value


def jsonl_keys(batches: Iterable[Lines], path: object) -> tuple[str, ...]:
    """Return the keys of the first hundred objects, in order of appearance. Raises InputError when there is no line."""
    for lines in batches:
        keys: dict[str, None] = {}
        for line in lines.text[:100].to_pylist():
            with suppress(InputError):  # for the rows' own reader to report
                keys |= dict.fromkeys(_parse_object(line, path, 0))
        return tuple(keys)
    raise InputError("the file is empty", cure="write one JSON object a line", path=path)


def read_jsonl(
    batches: Iterable[Lines], fields: Sequence[Field], path: object, *, rest: bool = False
) -> Iterator[Rows]:
    """Read rows out of JSON lines, with typed columns; a value of a wrong type is an error of its row.

    With `rest` also the columns that no field is called, in JSON.
    """
    for lines in batches:
        yield _parse_lines(lines, fields, path, rest)


def _parse_lines(lines: Lines, fields: Sequence[Field], path: object, rest: bool) -> Rows:
    errors, numbers, records = lines.errors + Errors(), [], []
    for number, line in zip(lines.numbers.tolist(), lines.text.to_pylist(), strict=True):
        if not line.strip():
            continue
        try:
            records.append(_parse_object(line, path, number))
            numbers.append(number)
        except InputError as error:
            errors.append(error)
    # A required field that no row of a batch has is for the reader to report, row by row.
    optional = [field.optional() for field in fields]
    header = list(dict.fromkeys(name for record in records for name in record))
    matched = match_fields(header, optional, path)
    check = RowCheck(path, np.array(numbers, dtype=np.int64))
    columns = {}
    for field in fields:
        if field.name in matched:
            column = matched[field.name]
            columns[field.name] = _json_column([record.get(column) for record in records], field, check)
    others = {}
    for name, column in unmatched(header, matched).items() if rest else ():
        others[name] = pa.array([to_json(record.get(column)) for record in records], pa.string())
    keep = pa.array(check.keep)
    return Rows(
        check.lines[check.keep],
        {n: c.filter(keep) for n, c in columns.items()},
        errors + check.errors,
        {n: c.filter(keep) for n, c in others.items()},
    )


def to_json(value: Any) -> str | None:
    """Return a value as compact JSON, None for null."""
    return None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _json_column(values: list[Any], field: Field, check: RowCheck) -> pa.Array:
    fits, wanted, arrow_type = _JSON_KINDS[field.kind]
    if field.name == "clicks":  # whether an impression was clicked may be said so
        values = [int(value) if isinstance(value, bool) else value for value in values]
    wrong = np.array([not (value is None or fits(value)) for value in values], dtype=np.bool_)
    check.reject(wrong, field.name, lambda row: f"a JSON {_json_type(values[row])} where {wanted} is expected")
    good = [None if bad else value for bad, value in zip(wrong, values, strict=True)]
    if field.kind == "text":
        good = [value if value is None else str(int(value) if isinstance(value, float) else value) for value in good]
    elif field.kind == "payload":
        good = [value and [(name, to_json(each)) for name, each in value.items() if each is not None] for value in good]
    elif field.kind == "spans":
        good = [value if value is None else [dict(span) for span in value] for value in good]
    return pa.array(good, arrow_type)


def _is_text(value: object) -> bool:
    if isinstance(value, float):  # an id that went through a table with missing ids
        return value.is_integer() and abs(value) <= 2**53
    return isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool))  # ids may be numbers


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 2**1000


def _is_list(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def is_spans(value: object) -> bool:
    """Return whether a JSON value is a list of `{"text": string, "confidence": number}`."""
    return isinstance(value, list) and all(
        isinstance(span, dict) and isinstance(span.get("text"), str) and _is_number(span.get("confidence"))
        for span in value
    )


_JSON_KINDS: dict[str, tuple[Callable[[object], bool], str, Any]] = {
    "text": (_is_text, "a string", pa.string()),
    "number": (_is_number, "a number", pa.float64()),
    "list": (_is_list, "a list of strings", pa.list_(pa.string())),
    "spans": (is_spans, 'a list of {"text": string, "confidence": number}', SPANS_TYPE),
    "payload": (lambda value: isinstance(value, dict), "an object", PAYLOAD_TYPE),
}


def _json_type(value: object) -> str:
    names = {dict: "object", list: "list", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")
