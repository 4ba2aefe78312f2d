"""What the snippets of README and documentation import exists, also where no test runs the snippet."""

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def imported(page: Path) -> set[tuple[str, str]]:
    """Return (module, name) of every name that a Python snippet of the page imports from the package."""
    snippets = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    nodes = (node for snippet in snippets for node in ast.walk(ast.parse(snippet)))
    return {
        (node.module, alias.name)
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("intently")
        for alias in node.names
    }


@pytest.mark.parametrize("page", [page for page in PAGES if imported(page)], ids=lambda page: page.stem)
def test_imports_of_snippets_exist(page):
    pytest.importorskip("torch")
    for module, name in sorted(imported(page)):
        assert hasattr(importlib.import_module(module), name), f"{page.name}: from {module} import {name}"
