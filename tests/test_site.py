"""The documentation builds as a site, and every link and anchor in it leads somewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")
    out = tmp_path_factory.mktemp("site")
    ended = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", out],
        cwd=ROOT, capture_output=True, text=True, timeout=900, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return out


def test_every_page_of_the_docs_is_there(site):
    for page in (ROOT / "docs").rglob("*.md"):
        assert (site / page.relative_to(ROOT / "docs").with_suffix(".html")).is_file()


def test_links_to_sources_lead_to_the_reference(site):
    decoding = (site / "decoding.html").read_text(encoding="utf-8")
    assert 'href="reference/intentions.html#intently.intentions.trie"' in decoding
    assert 'id="intently.intentions.trie"' in (site / "reference" / "intentions.html").read_text(encoding="utf-8")


def test_the_site_fetches_nothing_from_elsewhere(site):
    for page in site.rglob("*.html"):
        loaded = re.findall(r"<(?:script|img|link)[^>]+(?:src|href)=\"(https?://[^\"]+)", page.read_text("utf-8"))
        assert not loaded, page


def test_a_notebook_is_a_page_with_what_its_cells_show(site):
    page = (site / "examples" / "first_engine.ipynb.html").read_text(encoding="utf-8")
    assert "<caption>two-person camping tent: 1 ads</caption>" in page and "its place is 3" in page
    assert 'href="../answers.html#how-to-choose-a-threshold"' in page
