"""Landing pages kept as HTML, rendered to images by a Chromium that the user names."""

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from intently.errors import InputError, MissingDependencyError

_SECONDS = 120
# A landing page is a stranger's: it may show what it brings along, and neither run scripts nor read files.
_POLICY = (
    b'<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; font-src data:; '
    b"style-src 'unsafe-inline' data:\">"
)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def render_html(page: Path, image: Path, chromium: str, width: int, height: int, *, sandbox: bool = True) -> None:
    """Render the first `width` × `height` pixels of an HTML file to a PNG. Takes a few seconds.

    The page runs no scripts, reads no other files and fetches nothing: whatever it does not bring along stays blank.
    Chromium's sandbox needs another user than root; without `sandbox`, root may render pages outside it. Raises
    `MissingDependencyError` without a Chromium, `InputError` if it makes no image.
    """
    if not chromium:
        raise MissingDependencyError(
            f"{page}: HTML is rendered by Chromium, and none is named; set 'chromium' to its path, or give images"
        )
    program = shutil.which(chromium)
    if program is None:
        raise MissingDependencyError(f"there is no Chromium at '{chromium}'; install it, or give images of the pages")
    if not page.is_file():
        raise InputError("there is no such page", path=page)
    if sandbox and _is_root():
        raise InputError(
            "root renders HTML of strangers outside Chromium's sandbox",
            cure="run as another user, or ask for it with --no-sandbox",
            path=page,
        )
    with TemporaryDirectory() as folder:
        copy, profile = Path(folder) / "page.html", Path(folder) / "profile"
        copy.write_bytes(_POLICY + page.read_bytes().removeprefix(_BYTE_ORDER_MARK))
        command = [
            program, "--headless", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}",
            "--host-resolver-rules=MAP * ~NOTFOUND", f"--window-size={width},{height}",
            "--blink-settings=scriptEnabled=false", f"--screenshot={image.absolute()}", copy.as_uri(),
        ]  # fmt: skip
        if not sandbox:
            command.insert(1, "--no-sandbox")
        try:
            done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise InputError(f"not rendered within {_SECONDS} s", cure="give an image of it", path=page) from None
    if done.returncode or not image.exists():
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        raise InputError(f"Chromium made no image of it ({said[0]})", cure="give an image of it", path=page)


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0
