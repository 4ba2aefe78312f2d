"""Listing, rolling back and pruning generations."""

import contextlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from intently.errors import ArtifactError, InputError
from intently.generation.layout import (
    DELETED,
    GENERATIONS,
    current_id,
    directory_of,
    ids_of,
    make_current,
    nothing_here,
)
from intently.generation.lock import try_lock
from intently.generation.manifest import MANIFEST
from intently.generation.opened import open_generation

KEEP = 3  # generations that a build leaves, the new one included


@dataclass(frozen=True)
class Listed:
    """A generation as it is listed."""

    id: str
    created: datetime
    bytes: int
    facts: Mapping[str, Any]
    is_current: bool
    is_pinned: bool  # by a process that has it loaded
    problem: str = ""  # why it cannot be loaded, as far as its manifest tells


def list_generations(root: Path) -> list[Listed]:
    """Return all complete generations of an engine, newest first; raise `ArtifactError` if it has none.

    Reads manifests only, not the files that they list.
    """
    ids = ids_of(root)
    if not ids:
        raise nothing_here(root)
    try:
        current = current_id(root)
    except ArtifactError:
        current = None
    return [_listed(root, each, current) for each in reversed(ids)]


def _listed(root: Path, generation_id: str, current: str | None) -> Listed:
    created = datetime.strptime(generation_id[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    is_current, is_pinned = generation_id == current, _is_pinned(root, generation_id)
    try:
        with open_generation(root, generation_id, verify=False) as generation:
            num_bytes = sum(part.bytes for part in generation.manifest.files.values())
            return Listed(generation_id, created, num_bytes, generation.manifest.facts, is_current, is_pinned)
    except ArtifactError as error:
        return Listed(generation_id, created, 0, {}, is_current, is_pinned, str(error))


def seq_of_all(root: Path) -> int:
    """Return the number of the newest change that every generation on disk contains, 0 without generations."""
    numbers = []
    for each in ids_of(root):
        with contextlib.suppress(ArtifactError), open_generation(root, each, verify=False) as generation:
            numbers.append(generation.manifest.seq)
    return min(numbers, default=0)


def roll_back(root: Path, generation_id: str | None = None) -> str:
    """Make another generation the current one, after checking every byte of it, and return its id.

    By default this is the newest whole one before the current one. If CURRENT does not lead to a generation, it is the
    newest whole one. Raises `ArtifactError` if nothing is left to roll back to, or if the one of this id is damaged.
    """
    if generation_id:
        return _point_to(root, generation_id)
    ids = ids_of(root)
    if not ids:
        raise nothing_here(root)
    try:
        current = current_id(root)
    except ArtifactError:
        current = None
    problem = ""
    for each in reversed(ids):
        if current not in ids or each < str(current):
            try:
                return _point_to(root, each)
            except ArtifactError as error:
                problem = problem or f" ({error})"
    raise ArtifactError(f"{root} has no whole generation to roll back to{problem}; build the engine again")


def _point_to(root: Path, generation_id: str) -> str:
    with open_generation(root, generation_id):  # pinned, so that nobody prunes it meanwhile
        make_current(root, generation_id)
    return generation_id


def prune(root: Path, keep: int = KEEP) -> list[str]:
    """Remove all but the `keep` newest generations, and return the ids of those removed.

    The current one and those that a process has loaded always stay. Raises `InputError` for keep < 1.
    """
    if keep < 1:
        raise InputError(f"would keep {keep} generations", cure="keep at least 1", field="prune")
    removed = []
    if current_id(root) is not None:  # without a current one, nothing can be called superfluous
        removed = [each for each in ids_of(root)[:-keep] if _remove(root, each)]
    for left in (root / GENERATIONS).glob(f"*{DELETED}"):
        shutil.rmtree(left, ignore_errors=True)
    return removed


def _remove(root: Path, generation_id: str) -> bool:
    """Remove a generation unless it is current or pinned; return whether it was removed."""
    directory = directory_of(root, generation_id)
    pin = _opened(directory)
    try:
        if pin is not None and not try_lock(pin):
            return False
        # Read with the lock held: a rollback holds the lock of the generation that it makes current.
        if current_id(root) == generation_id:
            return False
        os.rename(directory, directory.with_name(generation_id + DELETED))  # noqa: PTH104
        return True
    finally:
        if pin is not None:
            os.close(pin)


def _is_pinned(root: Path, generation_id: str) -> bool:
    if (pin := _opened(directory_of(root, generation_id))) is None:
        return False
    try:
        return not try_lock(pin)
    finally:
        os.close(pin)


def _opened(directory: Path) -> int | None:
    try:
        return os.open(directory / MANIFEST, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return None
