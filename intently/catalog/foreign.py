"""Files that no reader takes: what they are, and the way out."""

import os
import re
from pathlib import Path

from intently.errors import InputError

_SHEET = "export the sheet as CSV (in UTF-8)"
_BY_SUFFIX = {
    ".tar": ("a tar archive", "unpack it (tar -xf FILE) and name the file inside"),
    ".tgz": ("a tar archive", "unpack it (tar -xf FILE) and name the file inside"),
    ".7z": ("a 7-Zip archive", "unpack it and name the file inside"),
    ".xls": ("an Excel workbook", _SHEET),
    ".xlsx": ("an Excel workbook", _SHEET),
    ".ods": ("a spreadsheet", _SHEET),
}
_BY_CONTENT = (
    (rb"PAR1", "Parquet", "name the file .parquet; Parquet cannot be read from a pipe"),
    (rb"%PDF-", "a PDF file", "export TSV, CSV or JSON lines"),
    (rb"PK\x03\x04", "an archive or Excel workbook inside an archive", "unpack it, or export the sheet as CSV"),
    (rb"\xd0\xcf\x11\xe0", "an old Excel workbook", _SHEET),
    (rb"(?i)(\xef\xbb\xbf)?\s{0,64}<(!doctype html|html)\b", "an HTML page", "download the file itself, not its page"),
)


def check_path(path: Path) -> None:
    """Raise InputError for an address, a folder, and a suffix that names a format that no reader takes."""
    text = str(path)
    if text == "-":
        return
    if scheme := re.match(r"([a-z][a-z0-9+.-]+):/", text):
        cure = f"download the file first; a stream can be piped into `-` ({_fetch(scheme[1])})"
        raise InputError(f"an address ({scheme[1]}://), not a file", cure=cure, path=text)
    try:
        is_folder = path.is_dir()
        if "\0" in os.fsencode(path).decode(errors="replace"):
            raise ValueError("it holds a NUL character")
    except (OSError, ValueError) as error:  # a name that is too long, or no text that a file system takes
        raise InputError("not the name of a file", cure=str(error), path=repr(text[:60])) from None
    if is_folder:
        parts = sorted(part.name for part in path.iterdir() if not part.name.startswith((".", "_")))
        cure = f"name one file in it, such as {parts[0]}" if parts else "it is empty; name a file"
        raise InputError("this is a folder", cure=cure, path=path)
    if found := _BY_SUFFIX.get(path.suffix.lower()):
        raise InputError(found[0], cure=found[1], path=path)


def check_content(start: bytes, place: object) -> None:
    """Raise InputError unless a file that begins with `start` can consist of lines of text."""
    for pattern, found, cure in _BY_CONTENT:
        if re.match(pattern, start):
            raise InputError(found, cure=cure, path=place, line=1)


def _fetch(scheme: str) -> str:
    return {"s3": "aws s3 cp ADDRESS -", "gs": "gcloud storage cat ADDRESS"}.get(scheme, "curl -s ADDRESS")
