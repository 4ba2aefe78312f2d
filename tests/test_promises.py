"""The pages that say what shows each promise name tests and benchmarks that exist, with options that they take."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TABLES = {"market.md": "## What checks it", "operation.md": "## Promises"}
TESTS = {path.name: path for path in (ROOT / "tests").rglob("*.py")}


def table_of(page: str) -> str:
    return (ROOT / "docs" / page).read_text(encoding="utf-8").partition(TABLES[page])[2]


def file_of(name: str) -> Path:
    return ROOT / name if "/" in name else TESTS[name]


@pytest.mark.parametrize("page", TABLES)
def test_what_is_named_exists(page: str) -> None:
    named = re.findall(r"`([\w/]+\.py)\b([^`]*)`(?: \(((?:`[^`]+`[^`)]*)+)\))?", table_of(page))
    assert len(named) > 20
    for name, options, functions in named:
        assert file_of(name).is_file(), name
        source = file_of(name).read_text(encoding="utf-8")
        for option in re.findall(r"--[\w-]+", options):
            assert f'"{option}"' in source, (name, option)
        for part in re.findall(r"--only ([\w,]+)", options):
            assert all(f'"{each}": {each}' in source for each in part.split(",")), (name, part)
        for function in re.findall(r"`([a-z0-9_]+)…?`", functions):
            assert re.search(rf"def test_\w*{function}", source), (name, function)


@pytest.mark.parametrize("page", TABLES)
def test_settings_of_the_environment_exist(page: str) -> None:
    for name in set(re.findall(r"INTENTLY_[A-Z_]+", table_of(page))):
        assert any(name in path.read_text(encoding="utf-8") for path in TESTS.values()), name
