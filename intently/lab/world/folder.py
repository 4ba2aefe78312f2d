"""Writing a folder so that it is complete or absent, and files whose bytes depend on their text alone."""

import gzip
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path

from intently.errors import InputError

MANIFEST = "world.json"


@contextmanager
def replaced_folder(out: Path) -> Iterator[Path]:
    """Yield a new folder beside `out` that takes its place when the block ends well, and vanishes when it does not.

    Raises `InputError` when `out` is a file, or a folder with other things in it than a world.
    """
    if out.exists() and not out.is_dir():
        raise InputError("is a file", cure="name a folder for the world", path=out)
    if out.is_dir() and any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise InputError("is not empty and not a world", cure="name a new or empty folder", path=out)
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        new = work / "new"
        new.mkdir()
        yield new
        if out.exists():
            out.rename(work / "old")
        new.rename(out)
    finally:
        shutil.rmtree(work)


@contextmanager
def gzip_text(path: Path) -> Iterator[TextIOWrapper]:
    """Yield a UTF-8 text file, compressed fast, without name and time in its header."""
    with (
        path.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=2, mtime=0) as packed,
        TextIOWrapper(packed, encoding="utf-8", newline="\n") as text,
    ):
        yield text
