"""Landing pages kept as HTML, rendered to images by a Chromium that the user names."""

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from intently.errors import InputError, MissingDependencyError

_SECONDS = 120


def render_html(page: Path, image: Path, chromium: str, width: int, height: int) -> None:
    """Render the first `width` × `height` pixels of an HTML file to a PNG. Takes a few seconds.

    Nothing is fetched from the network: what a page does not bring with it stays blank. Raises
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
    with TemporaryDirectory() as profile:
        command = [
            program, "--headless", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}",
            "--host-resolver-rules=MAP * ~NOTFOUND", f"--window-size={width},{height}",
            f"--screenshot={image.absolute()}", page.absolute().as_uri(),
        ]  # fmt: skip
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            command.insert(1, "--no-sandbox")  # Chromium refuses to start as root with its sandbox
        try:
            done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise InputError(f"not rendered within {_SECONDS} s", cure="give an image of it", path=page) from None
    if done.returncode or not image.exists():
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        raise InputError(f"Chromium made no image of it ({said[0]})", cure="give an image of it", path=page)
