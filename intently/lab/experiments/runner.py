"""An experiment: a directory of finished steps, each of which may take an hour and is never done twice.

A step is finished exactly when its facts (JSON) are there; they are written last, and hold the checksum of the step's
run. So a step that was interrupted, or whose run or facts are torn, is done again, from the checkpoints that it kept
itself in `Experiment.work`. What decides the results, data and settings, is the experiment's fingerprint: a directory
that was made with another one is refused, because its steps could not be compared with new ones.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from intently.catalog import Run, read_run, write_run
from intently.errors import InputError
from intently.files import is_unfinished, sha256_of, write_text

VERSION = 1
_MARK = "experiment.json"
_KIND = "intently experiment"


@dataclass(frozen=True)
class Answers:
    """What a system answered: for each of Q queries the ranked ads, best first, with their scores.

    `num_identifiers` (Q,) says how many intentions or other identifiers were decoded for each, None for a system
    without any; `facts` is all else worth keeping (settings, counts, losses), as JSON knows it.
    """

    rankings: Sequence[tuple[Sequence[str], Sequence[float]]]
    num_identifiers: Sequence[int] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.num_identifiers is not None and len(self.num_identifiers) != len(self.rankings):
            raise InputError(f"{len(self.num_identifiers)} numbers of identifiers for {len(self.rankings)} rankings")


@dataclass(frozen=True, eq=False)
class SystemResult:
    """A finished step: its run, over all queries in order, and its facts.

    `facts` holds what the step gave, and `costs`, a mapping: `seconds` of wall clock and `cpu_seconds` of all threads,
    both of the last attempt alone where `resumed` is true, and `peak_bytes` of the process's resident memory during the
    step (until its end, on systems other than Linux).
    """

    name: str
    run: Run
    mean_identifiers: float | None
    facts: dict[str, Any]


class Experiment:
    """The steps under `directory`, for the queries `query_ids`, made with the data and settings of `fingerprint`.

    Give the fingerprint as a mapping, and a refusal names what differs. One process at a time may use a directory.
    Raises InputError for a directory of another fingerprint or other queries, or with other things in it.
    """

    def __init__(self, directory: Path, fingerprint: str | Mapping[str, Any], query_ids: Sequence[str] = ()) -> None:
        self.directory, self.query_ids = directory, tuple(query_ids)
        parts = fingerprint if isinstance(fingerprint, Mapping) else {"fingerprint": fingerprint}
        made_of = {**_plain(parts), "queries": _digest(list(query_ids)), "version of experiments": VERSION}
        _claim(directory, made_of)

    def run(self, name: str, function: Callable[[], Answers]) -> SystemResult:
        """Return the result of the step `name`, calling `function` only if it is not there yet.

        Raises InputError for answers that are no run, or not as many as there are queries, and for a name that a step
        of `facts` has.
        """
        path = self._path(name, ".trec.gz")
        stored = self._stored(name, "run")
        if stored is None or (stored["sha256"] and not (path.is_file() and sha256_of(path) == stored["sha256"])):
            answers, costs = self._measured(name, function)
            if len(answers.rankings) != len(self.query_ids):
                raise InputError(f"{name}: {len(answers.rankings)} rankings for {len(self.query_ids)} queries")
            with write_run(path, tag=path.name.removesuffix(".trec.gz")) as run:
                for query_id, (ad_ids, scores) in zip(self.query_ids, answers.rankings, strict=True):
                    run.write(query_id, ad_ids, scores)
            is_empty = not any(len(ad_ids) for ad_ids, _ in answers.rankings)  # which `read_run` would refuse
            counts = None if answers.num_identifiers is None else [int(count) for count in answers.num_identifiers]
            content = {"sha256": "" if is_empty else sha256_of(path), "num_identifiers": counts}
            stored = self._store(name, "run", answers.facts, costs, content)
        counts = stored["num_identifiers"]
        mean = float(np.mean(counts)) if counts else None
        return SystemResult(name, self._read(path, bool(stored["sha256"])), mean, stored["facts"])

    def facts(self, name: str, function: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """Return the facts that the step `name` gave, and its costs, calling `function` only if they are not there.

        Facts come back as JSON has them: numbers, texts, lists and mappings, None for what is not finite.
        """
        stored = self._stored(name, "facts")
        if stored is None:
            given, costs = self._measured(name, function)
            stored = self._store(name, "facts", given, costs, {})
        facts: dict[str, Any] = stored["facts"]
        return facts

    def work(self, name: str) -> Path:
        """Return a directory for the checkpoints of the step `name`; it stays until somebody deletes it."""
        path = self.directory / "work" / _file_name(name)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def forget(self, name: str) -> None:
        """Delete the checkpoints of the step `name`, which is finished: hundreds of megabytes each add up."""
        shutil.rmtree(self.directory / "work" / _file_name(name), ignore_errors=True)

    def _path(self, name: str, suffix: str) -> Path:
        return self.directory / "steps" / (_file_name(name) + suffix)

    def _stored(self, name: str, kind: str) -> dict[str, Any] | None:
        """Return what is stored of a finished step, None for one that is not there or torn."""
        try:
            stored = json.loads(self._path(name, ".json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        if not isinstance(stored, dict) or not {"name", "kind", "facts"} <= stored.keys():
            return None
        if stored["kind"] != kind:
            raise InputError(f"the step {name!r} is one of {stored['kind']}, not of {kind}", cure="name it differently")
        return stored

    def _store(
        self, name: str, kind: str, given: Mapping[str, Any], costs: dict[str, Any], content: dict[str, Any]
    ) -> dict[str, Any]:
        stored = {"name": name, "kind": kind, **content, "facts": {**_plain(given), "costs": costs}}
        text = json.dumps(stored, ensure_ascii=False, allow_nan=False, indent=1)
        write_text(self._path(name, ".json"), text)
        returned: dict[str, Any] = json.loads(text)  # the same now as when it is resumed
        return returned

    def _measured(self, name: str, function: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
        work = self.directory / "work" / _file_name(name)
        resumed = work.is_dir() and any(work.iterdir())
        _forget_peak()
        started, cpu_started = time.perf_counter(), time.process_time()
        result = function()
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
        costs = {"seconds": round(seconds, 3), "cpu_seconds": round(cpu_seconds, 3), "peak_bytes": _peak_bytes()}
        return result, {**costs, "resumed": resumed}

    def _read(self, path: Path, has_ads: bool) -> Run:
        """Return a stored run over all queries; those without ads have left no line."""
        if not has_ads:
            return Run.build(((query_id, (), ()) for query_id in self.query_ids), tag=path.name.split(".")[0])
        run = read_run(path)
        rows = {query_id: row for row, query_id in enumerate(self.query_ids)}
        moved = np.array([rows[query_id] for query_id in run.query_ids], dtype=np.int64)
        return Run(self.query_ids, moved[run.query_rows], run.ad_ids, run.scores, run.tag)


def fingerprint_of(files: Mapping[str, Path], settings: object) -> dict[str, Any]:
    """Return a fingerprint of files, by what they are, and of settings (a dataclass or mapping), to give `Experiment`.

    Raises InputError for a file that is not there.
    """
    for path in files.values():
        if not path.is_file():
            raise InputError("no such file", cure="check the path", path=path)
    return {**{what: sha256_of(path) for what, path in files.items()}, **_flat(_plain(settings))}


def _claim(directory: Path, made_of: dict[str, Any]) -> None:
    """Make the directory one of experiments with this fingerprint, or raise."""
    if directory.exists() and not directory.is_dir():
        raise InputError("is a file", cure="name a directory for the experiment", path=directory)
    mark = directory / _MARK
    if mark.is_file():
        try:
            found = json.loads(mark.read_text(encoding="utf-8"))
        except ValueError:
            found = None
        if not isinstance(found, dict) or found.get("kind") != _KIND or not isinstance(found.get("made_of"), dict):
            raise InputError("is damaged", cure="delete the directory, or name a new one", path=mark)
        before = found["made_of"]
        if before != made_of:
            differ = [key for key in {**before, **made_of} if before.get(key) != made_of.get(key)]
            raise InputError(
                "was made with " + ", ".join(_change(key, before.get(key), made_of.get(key)) for key in differ[:4]),
                cure="name a new directory, delete this one, or go back to what it was made with",
                path=directory,
            )
    elif directory.is_dir() and any(not is_unfinished(path, _MARK) for path in directory.iterdir()):
        raise InputError("holds files that are not an experiment", cure="name a new or empty directory", path=directory)
    (directory / "steps").mkdir(parents=True, exist_ok=True)
    if not mark.is_file():
        write_text(mark, json.dumps({"kind": _KIND, "made_of": made_of}, ensure_ascii=False, indent=1))


def _change(key: str, before: Any, now: Any) -> str:
    told = [json.dumps(value, ensure_ascii=False) for value in (before, now)]
    return f"other {key}" + (f" ({told[0]}, now {told[1]})" if max(map(len, told)) <= 40 else "")


def _file_name(name: str) -> str:
    """Return a file name that no other step's name has, on any file system."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return plain if plain == name[:60] else f"{plain[:60]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}".lstrip("-")


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode()).hexdigest()


def _plain(value: Any) -> Any:
    """Return a value as JSON knows it. What it does not know becomes text: no hour of work fails on its last line."""
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, set | frozenset):
        return sorted(map(_plain, value), key=str)
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | Path):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _flat(settings: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{before}{key}.") if isinstance(value, Mapping) else {before + key: value}
    return flat


def _forget_peak() -> None:
    """Let Linux count the peak of resident memory from now on, where it lets us."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_bytes() -> int:
    with suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        if found:
            return int(found[1]) * 1024
    import resource  # not on every system

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
