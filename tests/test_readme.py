"""The README and the documentation say what is there: the file tree, the links, and nothing of anybody's machine."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "intently"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
PAGES += [ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]

# A path is a machine's own when it starts at the root and goes into one of these.
_MACHINE_PATH = re.compile(r"(?<![\w./~-])/(?:work|home|tmp|root|Users)(?=/|\b)")
_MACHINE_PATH_IN_DOCS = re.compile(
    r"(?<![\w./~-])/(?:work)(?=/|\b)"
)  # where examples may name a home or temporary folder
_LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)|(?:src|href)=\"([^\"]+)\"")
_FENCED = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Entry:
    """A line of the file tree: a path from the repository's root, and what is said about it."""

    path: str
    description: str


def file_tree() -> list[Entry]:
    """Return the entries of the README's file tree, a `text` block that begins with `intently/`.

    A line is a name, at least two spaces and a description. What is indented is in the folder above it.
    """
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```text\n(intently/.*?)^```", readme, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1, "the README needs one ```text block whose first line is intently/"
    entries: list[Entry] = []
    folders: list[tuple[int, str]] = []  # those that the line is in: their indent and path
    for line in filter(str.strip, blocks[0].splitlines()):
        indent = len(line) - len(line.lstrip())
        name, _, description = line.strip().partition("  ")
        folders = [(depth, path) for depth, path in folders if depth < indent]
        path = (folders[-1][1] if folders else "") + name.strip()
        if path.endswith("/"):
            folders.append((indent, path))
        entries.append(Entry(path, description.strip()))
    return entries


def test_everything_in_the_file_tree_exists():
    for entry in file_tree():
        path = ROOT / entry.path
        assert path.is_dir() if entry.path.endswith("/") else path.is_file(), entry.path


def test_every_module_and_package_is_in_the_file_tree_with_a_description():
    described = {entry.path for entry in file_tree() if entry.description}
    modules = {f"intently/{path.name}" for path in PACKAGE.glob("*.py") if path.name != "__init__.py"}
    packages = {f"intently/{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")}
    assert modules | packages <= described, sorted((modules | packages) - described)


def test_every_top_level_folder_is_in_the_file_tree():
    folders = {f"{name.split('/')[0]}/" for name in tracked_files() if "/" in name and not name.startswith(".")}
    listed = {entry.path for entry in file_tree()}
    assert folders <= listed, sorted(folders - listed)


def test_readme_is_neither_short_nor_long():
    num_lines = len((ROOT / "README.md").read_text(encoding="utf-8").splitlines())
    assert 120 <= num_lines <= 160


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page):
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    for target in (link or attribute for link, attribute in _LINK.findall(text)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        linked = (page.parent / file).resolve() if file else page
        assert linked.exists(), f"{page.name}: {target}"
        assert linked.is_relative_to(ROOT), f"{page.name}: {target}"
        if anchor and linked.suffix == ".md":
            assert anchor in anchors(linked), f"{page.name}: {target}"


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#{1,6}\s+(.+?)\s*$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_no_tracked_file_names_a_path_of_a_machine():
    for name in tracked_files():
        in_prose = name.startswith(("docs/", "operation/"))  # containers have paths of their own
        pattern = _MACHINE_PATH_IN_DOCS if in_prose else _MACHINE_PATH
        try:
            text = (ROOT / name).read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue  # a picture, or deleted and not committed yet
        found = pattern.search(text)
        assert found is None, f"{name}:{text.count(chr(10), 0, found.start()) + 1}: {found[0]}"


def tracked_files() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return listed.stdout.rstrip("\0").split("\0")
