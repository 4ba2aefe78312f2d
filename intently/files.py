"""Writing and reading files so that a crash, a full disk or a second writer leaves the old content or the new, whole.

Everything that the package writes goes through `atomic_write`. What a build keeps for itself is also *sealed*: the
SHA-256 of the content follows it, so that a damaged file is told apart from a whole one.
"""

import contextlib
import errno
import hashlib
import io
import logging
import os
import re
import secrets
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from intently.errors import ArtifactError, InputError

PARTIAL = ".partial"  # the end of the name of a file or directory that is being written
_TOKEN_BYTES = 4
_DIGEST_SIZE = hashlib.sha256().digest_size
_log = logging.getLogger(__name__)
_recorded: ContextVar[list[Path] | None] = ContextVar("recorded", default=None)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Yield a binary file whose content stands at `path`, whole and durable, once the block ends without an error.

    Until then, and after an error, `path` is as it was. A link stays, its target is replaced. A device or a pipe is
    written into, as far as the block comes; so is `-`, which is standard output. Raises `InputError` for a directory.
    """
    with contextlib.ExitStack() as opened:
        place = _stream(path, opened)
        if not isinstance(place, Path):
            yield place
            place.flush()
            return
        unfinished = place.with_name(f".{place.name[:100]}.{secrets.token_hex(_TOKEN_BYTES)}{PARTIAL}")
        try:
            descriptor = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o666)
        except OSError as error:  # named by what the user asked for
            raise OSError(error.errno, error.strerror, str(path)) from None
        try:
            with os.fdopen(descriptor, "w+b") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, place)  # noqa: PTH105
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(unfinished)  # noqa: PTH108
            raise
        fsync_directory(place.parent)
        if (recorded := _recorded.get()) is not None:
            recorded.append(place)


def _stream(path: Path, opened: contextlib.ExitStack) -> Path | IO[bytes]:
    """Return the regular file that is to be replaced, or what is to be written into, opened."""
    if str(path) == "-":
        return sys.stdout.buffer
    try:
        kind = path.stat().st_mode  # of what a link leads to
    except FileNotFoundError:
        kind = stat.S_IFREG
    if stat.S_ISDIR(kind):
        raise InputError("is a directory", cure="name a file", path=path)
    # What /dev/stdout leads to may be a regular file, but somebody else writes to it as well.
    if not stat.S_ISREG(kind) or path.absolute().parts[:2] in (("/", "dev"), ("/", "proc")):
        return opened.enter_context(path.open("wb"))
    return path.resolve() if path.is_symlink() else path


def is_unfinished(path: Path, name: str) -> bool:
    """Return whether a path is what `atomic_write` leaves of a file `name` when its process is killed."""
    return (
        re.fullmatch(rf"\.{re.escape(name[:100])}\.[0-9a-f]{{{2 * _TOKEN_BYTES}}}{re.escape(PARTIAL)}", path.name)
        is not None
    )


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8 by `atomic_write`."""
    content = text.encode()
    with atomic_write(path) as file:
        file.write(content)


def fsync_directory(path: Path) -> None:
    """Make the names in a directory survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems on which directories need no such call
            raise
    finally:
        os.close(descriptor)


@contextmanager
def recorded_writes() -> Iterator[list[Path]]:
    """Yield the list of files that `atomic_write` completes inside the block, in order."""
    written: list[Path] = []
    token = _recorded.set(written)
    try:
        yield written
    finally:
        _recorded.reset(token)


@contextmanager
def sealed_write(path: Path) -> Iterator[IO[bytes]]:
    """Yield a binary file as `atomic_write` does, and put the SHA-256 of the content behind the content."""
    with atomic_write(path) as file:
        yield file
        file.flush()
        file.seek(0)
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
        file.seek(0, io.SEEK_END)
        file.write(digest.digest())


def read_sealed(path: Path) -> io.BytesIO:
    """Return the content that `sealed_write` wrote.

    Raises `FileNotFoundError` if there is no such file, `ArtifactError` naming one that is torn or altered.
    """
    whole = path.read_bytes()
    content, digest = whole[:-_DIGEST_SIZE], whole[-_DIGEST_SIZE:]
    if len(digest) < _DIGEST_SIZE or hashlib.sha256(content).digest() != digest:
        raise ArtifactError(f"{path} is torn or has been altered (its checksum differs)")
    return io.BytesIO(content)


def set_aside(path: Path, reason: str) -> Path:
    """Rename a file or directory that cannot be used, so that it is done again and nothing is lost; log why."""
    number = 1
    while os.path.lexists(aside := path.with_name(f"{path.name}.aside-{number}")):
        number += 1
    os.rename(path, aside)  # noqa: PTH104
    _log.warning("%s; it is done again, and kept as %s", reason, aside)
    return aside


def read_arrays(path: Path, names: Iterable[str], what: str) -> dict[str, NDArray[Any]]:
    """Return the named arrays of an `.npz` file; raise `ArtifactError` saying that the file does not hold `what`."""
    try:
        # Opened here, because numpy leaves a torn file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in names}
    except Exception as error:  # numpy and zipfile raise some ten kinds, depending on which bytes are wrong
        raise ArtifactError(f"{path} does not hold {what} ({error}); build the engine again") from error
