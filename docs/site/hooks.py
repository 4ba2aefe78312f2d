"""Makes a site of the documentation: pages that lie elsewhere in the repository, the reference, and links to sources.

In the repository links lead to files, as people read them there. On the site a link to a module leads to its reference,
one to another source file to a page that shows it, and one to the README to the first page. A notebook becomes a page
with its outputs.
"""

import json
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
_PAGES = {"README.md": "index.md", "CHANGELOG.md": "CHANGELOG.md", "CONTRIBUTING.md": "CONTRIBUTING.md",
          "SECURITY.md": "SECURITY.md"}  # fmt: skip
_SHOWN = ("examples", "benchmarks", "operation")  # whose files are shown on pages of their own
_LANGUAGES = {".py": "python", ".yaml": "yaml", ".json": "json", ".service": "ini", "": "docker"}
_LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^(```.*?^```)", re.M | re.S)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the reference to the navigation: a page for the short imports, and one for each room."""
    assert config.nav is not None
    rooms = [{room: f"reference/{room}.md"} for room in _rooms()]
    config.nav = [*config.nav, {"Reference": [{"intently": "reference/index.md"}, *rooms]}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add pages that are made of other files of the repository."""
    made = {name: (ROOT / source).read_text(encoding="utf-8") for source, name in _PAGES.items()}
    made["reference/index.md"] = "# Reference\n\nWhat `from intently import …` offers.\n\n::: intently\n"
    for room in _rooms():
        made[f"reference/{room}.md"] = f"# intently.{room}\n\n::: intently.{room}\n"
    for folder in _SHOWN:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix == ".ipynb":
                made[f"{path.relative_to(ROOT).as_posix()}.md"] = _notebook(path)
            elif path.is_file() and path.suffix in _LANGUAGES and "__pycache__" not in path.parts:
                name = path.relative_to(ROOT).as_posix()
                code = path.read_text(encoding="utf-8")
                made[f"{name}.md"] = f"# {name}\n\n```{_LANGUAGES[path.suffix]}\n{code}```\n"
    for name, content in made.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: MkDocsConfig, files: Files) -> str:
    """Let links to files of the repository lead to pages of the site."""
    here = page.file.src_uri
    shown = here.startswith(tuple(f"{folder}/" for folder in _SHOWN))
    otherwise = here.removesuffix(".md") if shown else f"docs/{here}"
    source = next((repository for repository, name in _PAGES.items() if name == here), otherwise)
    parts = _FENCE.split(markdown)
    return "".join(part if at % 2 else _LINK.sub(lambda found: _linked(found, source, here), part)
                   for at, part in enumerate(parts))  # fmt: skip


def _rooms() -> list[str]:
    package = ROOT / "intently"
    return sorted(path.name for path in package.iterdir() if (path / "__init__.py").is_file()) + sorted(
        path.stem for path in package.glob("*.py") if not path.stem.startswith("_")
    )


def _notebook(path: Path) -> str:
    """Return a notebook as Markdown: its text, its code, and what the code has shown."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            text = "".join(output.get("text") or data.get("text/plain") or ())
            parts.append("".join(data["text/html"]) if "text/html" in data else f"```text\n{text.rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


def _linked(found: "re.Match[str]", source: str, here: str) -> str:
    """Return a link of the file `source` as it stands on the page `here`."""
    text, target = found[1], found[2]
    if "://" in target or target.startswith(("#", "mailto:")):
        return found[0]
    path, _, anchor = target.partition("#")
    repository = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    name, own = _place(repository)
    if name is None:
        return f"{text}"
    anchor = anchor or own
    relative = posixpath.relpath(name, posixpath.dirname(here) or ".")
    return f"[{text}]({relative}{'#' + anchor if anchor else ''})"


def _place(repository: str) -> tuple[str | None, str]:
    """Return the page, and the anchor on it, that shows a file of the repository; None for a file of no page."""
    if repository in _PAGES:
        return _PAGES[repository], ""
    if repository.startswith("docs/"):
        return repository.removeprefix("docs/"), ""
    folder, _, rest = repository.partition("/")
    if folder == "intently":
        module = repository.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        return f"reference/{rest.split('/')[0].removesuffix('.py')}.md", module
    if folder in _SHOWN:
        return (f"{repository}.md", "") if (ROOT / repository).is_file() else (None, "")
    return None, ""
