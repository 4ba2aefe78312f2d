"""The numbered lines of a text file, plain or compressed.

The suffix says the compression: `.gz`, `.bz2`, `.xz` or `.zst`. A line ends with a line feed; a carriage return before
it and a byte-order mark at the start of the file are taken off. A line that is not UTF-8 or that holds a NUL character
is a wrong row.
"""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from intently.errors import InputError
from intently.files import atomic_write

BLOCK_BYTES = 8 << 20
MAX_LINE_BYTES = 64 << 20  # a longer one is no row: the file is not what its name says

_OPENERS: dict[str, Callable[[Path, Any], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": lambda path, mode: pa.input_stream(str(path), compression="zstd"),
}
_PACKERS: dict[str, Callable[[IO[bytes]], Any]] = {
    ".gz": lambda file: gzip.GzipFile(filename="", mode="wb", fileobj=file),
    ".bz2": lambda file: bz2.BZ2File(file, "wb"),
    ".xz": lambda file: lzma.LZMAFile(file, "wb"),  # noqa: SIM115
    ".zst": lambda file: pa.CompressedOutputStream(_KeptOpen(file), "zstd"),
}
_BROKEN = (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error, pa.ArrowException)


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """A batch of lines: their numbers in the file from 1 (N,), their text (N,), and the errors of lines left out."""

    numbers: npt.NDArray[np.int64]
    text: pa.StringArray
    errors: list[InputError]


class _KeptOpen(io.RawIOBase):
    """A file that stays open when what writes to it is closed."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        return self._file.write(content)


def compression_suffix(path: Path) -> str:
    """Return the suffix of `path` that names a compression, or "" for a plain file."""
    suffix = path.suffix.lower()
    return suffix if suffix in _OPENERS else ""


@contextmanager
def open_output(path: Path) -> Iterator[IO[bytes]]:
    """Yield a binary file as `atomic_write` does, whose content is compressed as the suffix of `path` says."""
    with atomic_write(path) as file:
        if suffix := compression_suffix(path):
            with _PACKERS[suffix](file) as packed:
                yield packed
        else:
            yield file


@contextmanager
def open_input(path: Path) -> Iterator[IO[bytes]]:
    """Open `path` for reading its uncompressed bytes. Raises InputError for a missing, damaged or truncated file."""
    suffix = compression_suffix(path)
    try:
        with _OPENERS.get(suffix, open)(path, "rb") as stream:
            yield stream
    except FileNotFoundError:
        raise InputError("no such file", path=path) from None
    except IsADirectoryError:
        raise InputError("this is a folder", cure="name a file in it", path=path) from None
    except _BROKEN as error:
        raise InputError(
            f"damaged or truncated: {_one_line(error)}", cure="fetch or compress it again", path=path
        ) from None
    except OSError as error:  # also how pyarrow reports a damaged zstd stream
        raise InputError(f"cannot be read: {_one_line(error)}", path=path) from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def read_lines(path: Path) -> Iterator[Lines]:
    """Read the lines of `path` in batches of about 8 MB. Raises InputError for a file that cannot be read."""
    next_number, rest = 1, b""
    with open_input(path) as stream:
        start = True
        while block := stream.read(BLOCK_BYTES):
            if start:
                block, start = _without_mark(block, path), False
            if (cut := block.rfind(b"\n")) < 0:
                rest += block
                if len(rest) > MAX_LINE_BYTES:
                    raise InputError("a line of over 64 MB", cure="give one row a line", path=path, line=next_number)
                continue
            lines = _split(rest + block[:cut], next_number, path)
            rest, next_number = block[cut + 1 :], next_number + len(lines.numbers) + len(lines.errors)
            yield lines
        if rest:
            yield _split(rest, next_number, path)


def _without_mark(block: bytes, path: Path) -> bytes:
    if block.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError("encoded as UTF-16", cure="save it as UTF-8", path=path, line=1)
    return block.removeprefix(b"\xef\xbb\xbf")


def _split(block: bytes, first_number: int, path: Path) -> Lines:
    lines = pc.split_pattern(pa.array([block], pa.large_binary()), b"\n").values.cast(pa.binary())
    numbers = np.arange(first_number, first_number + len(lines), dtype=np.int64)
    errors: list[InputError] = []
    if b"\0" in block or not _is_utf8(block):  # rare, so only then look at line after line
        for number, line in zip(numbers, lines.to_pylist(), strict=True):
            place: dict[str, Any] = {"path": path, "line": int(number)}
            if not _is_utf8(line):
                errors.append(InputError("not UTF-8", cure="save the file as UTF-8", **place))
            elif b"\0" in line:
                errors.append(InputError("holds a NUL character", cure="remove it", **place))
        good = ~np.isin(numbers, np.array([error.line for error in errors], dtype=np.int64))
        numbers, lines = numbers[good], lines.filter(pa.array(good))
    text = lines.cast(pa.string())
    if b"\r" in block:
        text = pc.utf8_rtrim(text, characters="\r")
    return Lines(numbers, text, errors)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
