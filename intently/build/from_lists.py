"""Builds an engine from lists in memory: the pipeline reads files, so they are written to a temporary directory."""

import json
import math
import shutil
import tempfile
import weakref
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Any

from intently.build.pipeline import build_engine
from intently.build.settings import BuildSettings
from intently.catalog.problems import RowsError
from intently.engine.engine import Engine
from intently.errors import InputError
from intently.types import Ad, Progress

_ADS, _CLICKS = "ads.jsonl", "clicks.jsonl"
_AD_CURE = 'write Ad("a1", "Title") or {"ad_id": "a1", "title": "Title"}'
_CLICK_CURE = 'write ("red shoes", "a1") or {"query": "red shoes", "ad_id": "a1", "clicks": 3}'


def build_from_lists(
    kind: type[Engine],
    ads: Iterable[Ad | Mapping[str, Any]],
    clicks: Iterable[tuple[str, str] | Mapping[str, Any]] | None,
    settings: BuildSettings,
    progress: Progress | None = None,
) -> Engine:
    """Return an engine of these ads and clicks; see `Engine.build`.

    Its files lie in a temporary directory, which is removed with the engine.
    """
    directory = Path(tempfile.mkdtemp(prefix="intently-"))
    try:
        _write(directory / _ADS, _listed(ads, "ads", Ad | str | Mapping, _AD_CURE), "ads")
        asked = None
        if clicks is not None:
            asked = directory / _CLICKS
            _write(asked, _click_records(_listed(clicks, "clicks", str | Mapping, _CLICK_CURE)), "clicks")
        try:
            build_engine(directory / _ADS, asked, directory / "engine", settings, progress=progress)
        except InputError as error:
            raise _in_words_of_the_caller(error) from None
        engine = kind.load(directory / "engine")
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    engine.generation = ""  # its directory is temporary, so nobody can roll back to it
    weakref.finalize(engine, shutil.rmtree, directory, ignore_errors=True)
    return engine


def _listed(values: object, name: str, single: Any, cure: str) -> list[Any]:
    if isinstance(values, single) or not isinstance(values, Iterable):
        raise InputError(f"expected a list, got {type(values).__name__}", cure=f"pass a list; {cure}", field=name)
    listed = list(values)
    if not listed:
        raise InputError("the list is empty", cure=cure, field=name)
    return listed


def _ad_record(value: object) -> dict[str, Any]:
    if isinstance(value, Ad):
        return {name: each for name, each in asdict(value).items() if each not in (None, "", (), {})}
    if not isinstance(value, Mapping):
        raise InputError(f"expected an ad, got {type(value).__name__}", cure=_AD_CURE)
    return {str(name): each for name, each in value.items() if not _is_missing(each)}


def _click_records(values: list[Any]) -> list[dict[str, Any]]:
    """Return clicks as records; pairs are counted, as the same pair may be there many times."""
    records: list[dict[str, Any]] = []
    pairs: Counter[tuple[str, str]] = Counter()
    for line, value in enumerate(values, start=1):
        if isinstance(value, Mapping):
            records.append({str(name): each for name, each in value.items() if not _is_missing(each)})
        elif isinstance(value, tuple | list) and len(value) == 2 and all(isinstance(each, str) for each in value):
            pairs[value[0], value[1]] += 1
        else:
            problem = f"expected a query and an ad_id, got {value!r}"[:200]
            raise InputError(problem, cure=_CLICK_CURE, path="clicks", line=line)
    if records and pairs:
        raise InputError("clicks are pairs and mappings", cure="write all of them in one way", field="clicks")
    return records or [{"query": query, "ad_id": ad_id, "clicks": count} for (query, ad_id), count in pairs.items()]


def _write(path: Path, values: Iterable[Any], name: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        for line, value in enumerate(values, start=1):
            try:
                record = _ad_record(value) if name == "ads" else value
                file.write(json.dumps(record, default=_plain, allow_nan=False) + "\n")
            except InputError as error:
                raise InputError(error.problem, cure=error.cure, path=name, line=line, field=error.field) from None
            except (TypeError, ValueError, RecursionError) as error:
                problem = f"a value that JSON does not have: {error}"
                raise InputError(problem, cure="use texts, numbers and lists", path=name, line=line) from None


def _is_missing(value: object) -> bool:
    """Return whether a value is missing: None, or the NaN that pandas puts in its place."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _plain(value: object) -> Any:
    """Return values that tables hold as values of JSON: numbers of NumPy, dates, decimals."""
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    if hasattr(value, "tolist"):  # an array or a scalar of NumPy
        return value.tolist()
    raise TypeError(type(value).__name__)


def _in_words_of_the_caller(error: InputError) -> InputError:
    """Return an error with `ads:3` as its place, which is the third of the list, not a line of a file of ours."""
    names = {_ADS: "ads", _CLICKS: "clicks"}
    path = names.get(Path(str(error.path)).name, error.path)
    told = InputError(error.problem, cure=error.cure, path=path, line=error.line, field=error.field)
    if not isinstance(error, RowsError):
        return told
    problems = [problem.replace(str(error.path), str(path)) for problem in error.problems]
    return RowsError(told, tuple(problems), error.num_problems)
