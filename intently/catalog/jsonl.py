"""Rows out of JSON lines: one object a line, its keys the columns."""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from intently.catalog.fields import Field, Rows
from intently.catalog.lines import Lines, read_lines
from intently.catalog.problems import Errors
from intently.catalog.records import Records, json_type, rows_of, unwrapped
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
        raise InputError(f"a JSON {json_type(value)} where an object is expected", path=path, line=number)
    return unwrapped(value)


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
    return rows_of(Records(numbers, records, errors), fields, path, rest=rest, in_json=True)
