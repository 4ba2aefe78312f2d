"""Backups of a log: files of SQLite, whatever the log itself lies in."""

import os
import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from intently.errors import LogError
from intently.files import PARTIAL, fsync_directory
from intently.live.log.base import Backup, Position
from intently.live.log.committer import Store
from intently.live.log.sqlite import SqliteStore, check_header, created
from intently.live.log.tables import check_format, copy_rows, position_of, problems_of


def backup(reader: AbstractContextManager[Store | None], path: Path) -> Backup:
    """Write the log that `reader` reads, as it is at one moment, to a file; the file is there whole or not at all."""
    partial = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        with reader as source:
            if source is None:
                raise LogError("there is no log yet", cure="there is nothing to back up before the first change")
            with source.transaction():
                num, position = copied(source, partial)
        os.replace(partial, path)  # noqa: PTH105
        fsync_directory(path.absolute().parent)
    finally:
        partial.unlink(missing_ok=True)
    return Backup(str(path), position, num)


def copied(source: Store, path: Path) -> tuple[int, Position]:
    """Copy a log into a new file; return the number of entries, and where the copy stands."""
    target = created(path)
    try:
        with target.transaction():
            num = copy_rows(source, target)
        position = position_of(target)
    finally:
        target.close()
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return num, position


@contextmanager
def whole_backup(path: Path) -> Iterator[Store]:
    """Yield a backup, opened; raise `LogError` unless every byte of it is whole."""
    check_header(path)
    store = SqliteStore.opened(path, read_only=True)
    try:
        check_format(store, str(path))
        if problems := [*store.damage(), *(problem for _, problem in problems_of(store) if problem)]:
            raise LogError(f"is damaged: {problems[0]}", cure="take another backup", path=path)
        yield store
    finally:
        store.close()
