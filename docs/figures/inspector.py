"""Takes the pictures of the inspector: starts `intently serve` over an engine, and asks two queries in Chromium.

python docs/figures/inspector.py demo/engine docs/figures     (`make screenshot`)
"""

import argparse
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlencode

from PIL import Image
from playwright.sync_api import sync_playwright

QUERY = "giggleton fibre broabdand"
WIDTH, HEIGHT = 1280, 1210
COLORS = 256
TREE_HEIGHT = 1000
MOST_BYTES = 300_000


def main() -> None:
    """Write inspector.png and inspector-tree.png into a directory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--query", default=QUERY)
    given = parser.parse_args()
    command = [sys.executable, "-m", "intently", "serve", str(given.engine), "--port", "0"]
    service = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        address = _address(service)
        with sync_playwright() as driver:
            arguments = ["--no-sandbox"] if os.getuid() == 0 else []
            browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
            asked = {"q": given.query, "k": "6"}
            for _ in range(3):  # so that the stages' times are those of a warm engine
                page.goto(f"{address}/?{urlencode(asked)}")
            _write(given.out / "inspector.png", page.screenshot())
            page.goto(f"{address}/?{urlencode(asked | {'vs_reading': 'decoded'})}")
            _write(given.out / "inspector-tree.png", page.locator(".tree").last.screenshot(), TREE_HEIGHT)
            browser.close()
    finally:
        service.terminate()
        service.communicate()


def _address(service: "subprocess.Popen[str]") -> str:
    assert service.stderr
    for line in service.stderr:
        if found := re.search(r"begin at (http://[^/]+)/", line):
            return found[1]
    raise SystemExit("the service did not start")


def _write(path: Path, content: bytes, height: int = HEIGHT) -> None:
    """Write the upper part of a picture with few colors, as pages have."""
    image = Image.open(io.BytesIO(content)).convert("RGB")
    image = image.crop((0, 0, image.width, min(height, image.height)))
    image.quantize(COLORS, dither=Image.Dither.NONE).save(path, optimize=True)
    if (size := path.stat().st_size) > MOST_BYTES:
        raise SystemExit(f"{path} has {size:,} bytes, over {MOST_BYTES:,}")


if __name__ == "__main__":
    main()
