"""Saves what can be saved of a damaged file, and keeps the original aside.

Every row has a checksum. A row that SQLite cannot reach any more, or whose checksum is wrong, is lost and counted.
"""

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from intently.errors import LogError
from intently.files import PARTIAL, fsync_directory
from intently.live.log.base import Recovered
from intently.live.log.committer import Row, Store
from intently.live.log.sqlite import SqliteStore, created, is_destroyed
from intently.live.log.tables import (
    COLUMNS,
    INSERT,
    INSERT_READING,
    SET,
    checked_entry,
    is_whole_reading,
    paged_readings,
    position_of,
    problems_of,
)

logger = logging.getLogger(__name__)

_SUFFIXES = ("", "-wal")
_HIGHEST = 1 << 40  # beyond any number
_MOST_FAILURES = 20_000  # in a row, after which nothing more is looked for


def repaired(path: Path) -> Recovered | None:
    """Return None for a whole file. Put a repaired one in the place of a damaged one; the writer's lock is held."""
    for left in path.parent.glob(f".{path.name}*{PARTIAL}*"):
        left.unlink(missing_ok=True)
    if not (problem := _problem(path)):
        return None
    aside = _aside(path)
    for suffix in _SUFFIXES:
        original = path.with_name(path.name + suffix)
        if original.exists():
            shutil.copyfile(original, aside.with_name(aside.name + suffix))
    fsync_directory(path.parent)
    partial = path.with_name(f".{path.name}{PARTIAL}")
    num_kept, num_lost = _save(path, partial)
    for suffix in ("-wal", "-shm"):  # of the damaged file; never to be read into the new one
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    os.replace(partial, path)  # noqa: PTH105
    fsync_directory(path.parent)
    recovered = Recovered(problem, num_kept, num_lost, str(aside))
    logger.error(
        "%s was damaged (%s): %d changes were saved, %s are lost; the original is %s", path, problem, num_kept,
        "an unknown number" if num_lost is None else num_lost, aside, extra={"num_lost": num_lost},
    )  # fmt: skip
    return recovered


def _problem(path: Path) -> str:
    """Return what is wrong with a file, nothing for a whole one."""
    if is_destroyed(path):
        return "its beginning is gone"
    try:
        store = SqliteStore.opened(path, read_only=True)
    except LogError as error:
        return error.problem
    try:
        problems = store.damage() or [problem for _, problem in problems_of(store) if problem]
    except LogError as error:
        problems = [error.problem]
    finally:
        store.close()
    return problems[0] if problems else ""


def _aside(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    return aside


def _save(path: Path, partial: Path) -> tuple[int, int | None]:
    """Write every whole row into a new file; return how many entries were kept and lost, None if nobody knows."""
    target = created(partial)
    kept: list[int] = []
    floor, num = 0, None
    try:
        source = SqliteStore.opened(path, read_only=True)
        try:
            with contextlib.suppress(LogError):
                floor = position_of(source).floor
            with contextlib.suppress(LogError):
                ((num,),) = source.execute("SELECT count(*) FROM intently_entries")
            with target.transaction():
                for row in _reachable(source):
                    try:
                        checked_entry(row, "")
                    except LogError:
                        continue
                    target.execute_many(INSERT, [row])
                    kept.append(row[0])
                with contextlib.suppress(LogError):  # models read those ads again
                    for rows in paged_readings(source):
                        target.execute_many(INSERT_READING, [row for row in rows if is_whole_reading(row)])
                target.execute(SET, ("floor", str(floor)))
        finally:
            source.close()
    except LogError as error:
        logger.debug("nothing of %s can be read: %s", path, error)
    finally:
        target.close()
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    return len(kept), None if num is None else num - len(kept)


def _reachable(store: Store) -> Iterator[Row]:
    """Yield the rows of all entries that SQLite can still reach, by halving the ranges that it cannot read."""
    waiting, num_failures = [(0, _HIGHEST)], 0
    chosen = f"SELECT {COLUMNS} FROM intently_entries WHERE seq >= ? AND seq < ? ORDER BY seq LIMIT 500"
    while waiting and num_failures < _MOST_FAILURES:
        low, high = waiting.pop()  # numbers from `low` to before `high`
        try:
            rows = store.execute(chosen, (low, high))
        except LogError:
            num_failures += 1
            if high - low > 1:
                middle = (low + high) // 2
                waiting += [(middle, high), (low, middle)]
            continue
        if rows:
            num_failures = 0
            yield from rows
            waiting.append((rows[-1][0] + 1, high))
