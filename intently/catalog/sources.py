"""The files that a user names: paths, globs, addresses, standard input. Whatever is no local file is fetched first.

A build reads its files twice, for the checksum and for the ads, so that what comes once is put into a folder first.
"""

import glob
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from intently.catalog.lines import called
from intently.errors import InputError, MissingDependencyError, install_hint

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


@contextmanager
def local_files(names: Sequence[str]) -> Iterator[list[Path]]:
    """Yield paths of regular files with the content of all that `names` name, in their order.

    A folder of Parquet files stands for these, a name with `*`, `?` or `[` for the files that match it, sorted; `-` is
    standard input; an address (`s3://`, `https://`) is fetched by fsspec. Raises InputError for a pattern that nothing
    matches and an address that cannot be fetched, MissingDependencyError for one that needs a package.
    """
    with tempfile.TemporaryDirectory(prefix="intently-") as folder:
        found = [(name, path) for at, name in enumerate(names) for path in _local(name, Path(folder) / str(at))]
        copies = {path: "standard input" if name == "-" else name for name, path in found
                  if path.is_relative_to(folder)}  # fmt: skip
        with called(copies):
            yield [path for _, path in found]


def _local(name: str, folder: Path) -> list[Path]:
    if name == "-":
        folder.mkdir()
        return [_copied(sys.stdin.buffer, folder / "standard input")]
    if _ADDRESS.match(name):
        folder.mkdir()
        return [_fetched(name, folder)]
    path = Path(name)
    if re.search(r"[*?\[]", name) and not path.exists():
        found = sorted(glob.glob(name, recursive=True))  # noqa: PTH207
        if not found:
            raise InputError("no file matches", cure="check the pattern", path=name)
        return [Path(each) for each in found if Path(each).is_file()]
    if path.is_dir():  # as Spark writes a table
        parts = sorted(each for each in path.iterdir() if not each.name.startswith((".", "_")))
        return parts if parts and all(each.suffix == ".parquet" for each in parts) else [path]
    if path.is_fifo() or path.is_char_device():
        folder.mkdir()
        with path.open("rb") as stream:
            return [_copied(stream, folder / path.name)]
    return [path]


def _fetched(address: str, folder: Path) -> Path:
    try:
        import fsspec
    except ModuleNotFoundError:
        raise MissingDependencyError("addresses need fsspec; " + install_hint("urls")) from None
    target = folder / (PurePosixPath(address.split("?")[0]).name or "file")
    try:
        with fsspec.open(address, "rb") as stream:
            return _copied(stream, target)
    except ImportError as error:
        raise MissingDependencyError(f"{address} needs another package: {error}") from None
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot be fetched: {error}", cure="check the address and your access", path=address
        ) from None


def _copied(stream: IO[bytes] | Any, target: Path) -> Path:
    with target.open("wb") as file:
        shutil.copyfileobj(stream, file)
    return target
