"""The snippets of docs/answers.md run, one after the other."""

import re
from pathlib import Path

import pytest

from intently.cli.engine import _caps
from intently.filters import parse

PAGE = (Path(__file__).parents[1] / "docs" / "answers.md").read_text(encoding="utf-8")


def test_snippets_run(capsys):
    pytest.importorskip("torch")
    known: dict[str, object] = {}
    snippets = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(snippets) == 7
    for snippet in snippets:
        exec(compile(snippet, "answers.md", "exec"), known)
    assert capsys.readouterr().out.count("(") == 3


def test_the_command_and_the_errors_are_as_told():
    command = re.search(r"--filter '(.*?)'.*?--max-per (\S+)", PAGE, re.DOTALL)
    assert command and str(parse(command[1])).startswith("price < 80 and") and _caps([command[2]]) == {"group_id": 1}
    for condition in re.findall(r"^\| `(.*?)`[^…]*? \|", PAGE, re.MULTILINE):
        if "…" not in condition:
            parse(condition)
