"""The snippet of docs/rules.md runs, and its table of variants is what the presets say."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from intently.rules import PRESETS, Variants, parse_targeting

PAGE = (Path(__file__).parents[1] / "docs" / "rules.md").read_text(encoding="utf-8")


def test_snippet_prints_what_it_says(capsys):
    pytest.importorskip("torch")
    (snippet,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    exec(compile(snippet, "rules.md", "exec"), {})
    told = re.findall(r"^print\(.*?\)  # (.*)$", snippet, re.MULTILINE)
    assert len(told) == 3
    assert capsys.readouterr().out.splitlines() == told


def test_variants_are_as_told():
    rows = re.findall(r"^\| .*? \| .*? \| (yes|no) \| (yes|no) \| (yes|no) \| (yes|no) \|$", PAGE, re.MULTILINE)
    assert len(rows) == len(fields(Variants))
    order = ("plurals", "stems", "accents", "misspellings", "abbreviations", "function_words", "order")
    for name, row in zip(order, rows, strict=True):
        assert tuple("yes" if getattr(rules.positive, name) else "no" for rules in PRESETS.values()) == row


def test_targeting_is_a_condition():
    for text in re.findall(r"^```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        parse_targeting(text)
