"""The numbered lines of a text file or of standard input, plain or compressed.

The suffix says the compression (`.gz`, `.bz2`, `.xz` or `.zst`), and where there is none the first bytes do. A line
ends with a line feed, or with a carriage return in a file that has no line feed; a carriage return before a line feed
and byte-order marks are taken off. What is not UTF-8 becomes it (see
`intently.catalog.encoding`); a damaged line and one that holds a NUL character is a wrong row. A zip archive is the
file inside it.

A file is opened once, so that it may be a pipe; `-` is standard input.
"""

import bz2
import gzip
import io
import lzma
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from intently.catalog.archive import open_member
from intently.catalog.encoding import utf8_blocks
from intently.catalog.foreign import check_content, check_path
from intently.catalog.problems import Errors
from intently.errors import InputError
from intently.files import atomic_write

BLOCK_BYTES = 4 << 20
MAX_LINE_BYTES = 64 << 20  # a longer one is no row: the file is not what its name says
# A small file that expands without end is damaged or hostile. Real feeds shrink to a twentieth at best.
MAX_EXPANSION = 200
FREE_BYTES = 64 << 20  # that many are read whatever the file's size
MAX_EMPTY_LINES = 10_000_000  # in a row of blocks; more is no file that somebody made

STANDARD_INPUT = Path("-")

_MARK = b"\xef\xbb\xbf"  # a byte-order mark

_SUFFIXES = (".gz", ".bz2", ".xz", ".zst")
_MAGIC = {b"\x1f\x8b": ".gz", b"BZh": ".bz2", b"\xfd7zXZ": ".xz", b"\x28\xb5\x2f\xfd": ".zst"}
_READERS: dict[str, Callable[[Any], Any]] = {
    ".gz": lambda raw: gzip.GzipFile(fileobj=raw),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    ".zst": lambda raw: pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd"),
}
_PACKERS: dict[str, Callable[[IO[bytes]], Any]] = {
    ".gz": lambda file: gzip.GzipFile(filename="", mode="wb", fileobj=file),
    ".bz2": lambda file: bz2.BZ2File(file, "wb"),
    ".xz": lambda file: lzma.LZMAFile(file, "wb"),  # noqa: SIM115
    ".zst": lambda file: pa.CompressedOutputStream(_KeptOpen(file), "zstd"),
}
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")  # the second: one without files
_BROKEN = (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error, zipfile.BadZipFile, pa.ArrowException)


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """A batch of lines: their numbers in the file from 1 (N,), their text (N,), and the errors of lines left out."""

    numbers: npt.NDArray[np.int64]
    text: pa.StringArray
    errors: Errors


_CALLED: dict[Path, str] = {}  # copies of what is no local file → what the user called it


def place_of(path: Path) -> object:
    """Return what messages call a file."""
    return "standard input" if path == STANDARD_INPUT else _CALLED.get(path, path)


@contextmanager
def called(names: Mapping[Path, str]) -> Iterator[None]:
    """Let messages call copies what the user called the originals, such as an address."""
    _CALLED.update(names)
    try:
        yield
    finally:
        for path in names:
            _CALLED.pop(path, None)


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
    return suffix if suffix in _SUFFIXES else ""


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
def open_input(path: Path, *, may_be_compressed: bool = True, notes: list[str] | None = None) -> Iterator[Any]:
    """Open `path` for reading its uncompressed bytes; say in `notes` which file of an archive that is.

    Raises InputError for a missing, damaged or truncated file, and for one that expands beyond measure.
    """
    check_path(path)
    place = place_of(path)
    try:
        if path == STANDARD_INPUT:
            yield _uncompressed(sys.stdin.buffer, "", place, notes)
        else:
            with path.open("rb") as stream:
                yield _uncompressed(stream, compression_suffix(path), place, notes) if may_be_compressed else stream
    except FileNotFoundError:
        raise InputError("no such file", path=place) from None
    except _BROKEN as error:
        problem = f"damaged or truncated: {_one_line(error)}"
        raise InputError(problem, cure="fetch or compress it again", path=place) from None
    except OSError as error:  # also how pyarrow reports a damaged zstd stream
        raise InputError(f"cannot be read: {_one_line(error)}", path=place) from None


def _uncompressed(stream: Any, suffix: str, place: object, notes: list[str] | None) -> Any:
    if not hasattr(stream, "peek"):
        stream = io.BufferedReader(stream)
    start = stream.peek(8)
    if start.startswith(_ZIP):
        member, size, name = open_member(stream, place)
        if notes is not None:
            notes.append(f"the file {name} inside a zip archive")
        return _Bounded(member, lambda: size, place)
    if not suffix:
        suffix = next((suffix for magic, suffix in _MAGIC.items() if start.startswith(magic)), "")
    if not suffix:
        return stream
    counted = _Counted(stream)
    return _Bounded(_READERS[suffix](io.BufferedReader(counted)), lambda: counted.num_read, place)


class _Counted(io.RawIOBase):
    """A stream that counts the bytes that were read from it."""

    def __init__(self, stream: Any) -> None:
        self._stream, self.num_read = stream, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read1(len(buffer))
        buffer[: len(data)] = data
        self.num_read += len(data)
        return len(data)


class _Bounded:
    """The uncompressed bytes of a stream, as many as are in proportion to the bytes that were stored of it so far."""

    def __init__(self, stream: Any, num_stored: Callable[[], int], place: object) -> None:
        self._stream, self._num_stored, self._place, self._num_given = stream, num_stored, place, 0

    def read(self, size: int) -> bytes:
        data: bytes = self._stream.read(size)
        self._num_given += len(data)
        check_expansion(self._num_given, self._num_stored(), self._place)
        return data


def check_expansion(num_bytes: int, num_bytes_stored: int, place: object) -> None:
    """Raise InputError if a file expands to many more bytes than it has."""
    if num_bytes > max(FREE_BYTES, MAX_EXPANSION * num_bytes_stored):
        problem = f"expands to over {MAX_EXPANSION} times its size"
        raise InputError(problem, cure="decompress it and look at what it holds", path=place)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def read_lines(path: Path, encoding: str = "", notes: list[str] | None = None) -> Iterator[Lines]:
    """Read the lines of `path` in batches of about 4 MB; say in `notes` how, where that is not as usual.

    Raises InputError for a file that cannot be read.
    """
    place = place_of(path)
    num_empty = 0
    next_number, rest, end = 1, b"", b""  # `end` ends lines; which it is shows at the first line feed
    said = [] if notes is None else notes
    with open_input(path, notes=said) as stream:
        start = True
        for block in utf8_blocks(stream.read, BLOCK_BYTES, place, said, encoding):
            if start:
                check_content(block, place)
                block, start = block.removeprefix(_MARK), False
            if not end and b"\n" in block:
                end = b"\n"
            cut = block.rfind(end) if end else -1
            if cut < 0:
                rest += block
                if len(rest) <= MAX_LINE_BYTES:
                    continue
                if end or b"\r" not in rest:
                    raise InputError("a line of over 64 MB", cure="give one row a line", path=place, line=next_number)
                end, block, rest = b"\r", rest, b""
                cut = block.rfind(end)
            lines = _split(rest + block[:cut], end, next_number, place)
            rest, next_number = block[cut + 1 :], next_number + len(lines.numbers) + len(lines.errors)
            is_empty = pc.equal(lines.text, "")
            num_empty = num_empty + len(is_empty) if pc.all(is_empty).as_py() else 0
            if num_empty > MAX_EMPTY_LINES:
                problem = f"over {MAX_EMPTY_LINES:,} empty lines"
                raise InputError(problem, cure="remove them", path=place, line=next_number)
            yield lines
        if rest:
            if not end and b"\r" in rest:  # as Excel for Mac writes lines
                end, rest = b"\r", rest.removesuffix(b"\r")
            yield _split(rest, end or b"\n", next_number, place)


def _split(block: bytes, end: bytes, first_number: int, place: object) -> Lines:
    lines = pc.split_pattern(pa.array([block], pa.large_binary()), end).values.cast(pa.binary())
    numbers = np.arange(first_number, first_number + len(lines), dtype=np.int64)
    errors = Errors()
    if b"\0" in block or not _is_utf8(block):  # rare, so only then look at line after line
        good = np.ones(len(lines), dtype=np.bool_)
        for at, line in enumerate(lines.to_pylist()):
            if not _is_utf8(line):
                cure = "save the file as UTF-8, or name what it is: --encoding cp1252"
                errors.append(InputError("not UTF-8", cure=cure, path=place, line=int(numbers[at])))
                good[at] = False
            elif b"\0" in line:
                errors.append(InputError("holds a NUL character", cure="remove it", path=place, line=int(numbers[at])))
                good[at] = False
        numbers, lines = numbers[good], lines.filter(pa.array(good))
    text = lines.cast(pa.string())
    if b"\r" in block:
        text = pc.utf8_rtrim(text, characters="\r")
    if _MARK in block:  # of files that were put together
        text = pc.replace_substring(text, _MARK.decode(), "")
    return Lines(numbers, text, errors)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
