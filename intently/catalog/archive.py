"""The one file inside a zip archive, as shops and ad platforms send their feeds."""

import shutil
import tempfile
import zipfile
from pathlib import PurePosixPath
from typing import IO, Any

from intently.errors import InputError

MAX_MEMBERS = 10_000
_SPOOLED_BYTES = 64 << 20  # of an archive from a pipe, kept in memory; a larger one goes to a temporary file
_BESIDES = ("__MACOSX", ".")  # what begins so is what systems put beside the files


def open_member(stream: Any, place: object) -> tuple[Any, int, str]:
    """Return the file inside a zip archive, opened, the bytes that it takes in the archive, and its name.

    Raises InputError for an archive with no file or several, one with a password, and for Excel workbooks.
    """
    archive = _opened(stream, place)
    members = [each for each in archive.infolist() if not each.is_dir() and not _is_beside(each.filename)]
    names = [each.filename for each in members]
    if "[Content_Types].xml" in names or "mimetype" in names:
        raise InputError("an Excel workbook", cure="export the sheet as CSV (in UTF-8)", path=place)
    if len(members) != 1:
        found = f"{len(members):,} files" if members else "no file"
        told = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        cure = f"unpack it and name the files of ads among {told}" if members else "make the archive again"
        raise InputError(f"a zip archive with {found}", cure=cure, path=place)
    if members[0].flag_bits & 1:
        raise InputError("a zip archive with a password", cure="unpack it and name the file inside", path=place)
    try:
        return archive.open(members[0]), max(members[0].compress_size, 1), PurePosixPath(names[0]).name
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise InputError(f"damaged or packed in an unknown way: {error}", cure="pack it again", path=place) from None


def _opened(stream: Any, place: object) -> zipfile.ZipFile:
    file: IO[bytes] = stream
    if not stream.seekable():
        file = tempfile.SpooledTemporaryFile(_SPOOLED_BYTES)  # noqa: SIM115
        shutil.copyfileobj(stream, file)
        file.seek(0)
    try:
        archive = zipfile.ZipFile(file)
    except zipfile.BadZipFile as error:
        problem = f"damaged or truncated: {error}"
        raise InputError(problem, cure="fetch or pack it again", path=place) from None
    if len(archive.infolist()) > MAX_MEMBERS:
        raise InputError(f"a zip archive with over {MAX_MEMBERS:,} files", cure="unpack it", path=place)
    return archive


def _is_beside(name: str) -> bool:
    return any(part.startswith(_BESIDES) for part in PurePosixPath(name).parts)
