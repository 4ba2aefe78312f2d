"""Runs the code cells of notebooks without Jupyter, and writes into the files what the cells show.

python tests/notebooks.py examples/*.ipynb
"""

import ast
import contextlib
import io
import json
import re
import sys
from pathlib import Path
from pprint import pformat
from typing import Any

Notebook = dict[str, Any]
_DECIMAL = re.compile(r"\d+\.\d+")
_CLOSE = 0.05  # two decimals may differ by so much, or by this share: scores depend on the processor a little


def read(path: Path) -> Notebook:
    """Return a notebook as its JSON says it."""
    return json.loads(path.read_text(encoding="utf-8"))


def write(path: Path, notebook: Notebook) -> None:
    """Write a notebook in the layout of Jupyter, so that saving it there changes little."""
    path.write_text(json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def executed(notebook: Notebook) -> Notebook:
    """Return the notebook with the outputs of its code cells, run one after the other in one namespace.

    As in Jupyter, a cell shows what it prints, and the value of its last line if that is an expression: as HTML where
    the value knows how, else as Python writes it. An error in a cell is raised.
    """
    known: dict[str, object] = {"__name__": "__main__"}
    cells, count = [], 0
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            count += 1
            cell = cell | {"execution_count": count, "outputs": _outputs(cell, count, known)}
        cells.append(cell)
    return notebook | {"cells": cells}


def differences(stored: Notebook, fresh: Notebook) -> list[str]:
    """Return for each code cell whose stored outputs are not those of the fresh run what both show.

    Decimals that are close are the same. Whole numbers are not: they are ranks, counts and parts of ids.
    """
    told = []
    for old, new in zip(stored["cells"], fresh["cells"], strict=True):
        if new["cell_type"] == "code":
            before, after = (json.dumps(each["outputs"], ensure_ascii=False) for each in (old, new))
            if not (old["execution_count"] == new["execution_count"] and _alike(before, after)):
                told.append(f"cell {new['id']}: stored {before}, executed {after}")
    return told


def _outputs(cell: dict[str, Any], count: int, known: dict[str, object]) -> list[dict[str, Any]]:
    name = f"cell {cell['id']}"
    body = ast.parse("".join(cell["source"]), name).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    printed, value = io.StringIO(), None
    with contextlib.redirect_stdout(printed):
        exec(compile(ast.Module(body, []), name, "exec"), known)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), name, "eval"), known)
        shown = None if value is None else _shown(value)
    outputs: list[dict[str, Any]] = []
    if text := printed.getvalue():
        outputs.append({"name": "stdout", "output_type": "stream", "text": text.splitlines(keepends=True)})
    if shown is not None:
        outputs.append({"data": shown, "execution_count": count, "metadata": {}, "output_type": "execute_result"})
    return outputs


def _shown(value: Any) -> dict[str, list[str]]:
    if hasattr(value, "_repr_html_"):
        return {"text/html": value._repr_html_().splitlines(keepends=True)}
    return {"text/plain": pformat(value, sort_dicts=False).splitlines(keepends=True)}


def _alike(before: str, after: str) -> bool:
    if _DECIMAL.sub("#", before) != _DECIMAL.sub("#", after):
        return False
    pairs = zip(map(float, _DECIMAL.findall(before)), map(float, _DECIMAL.findall(after)), strict=True)
    return all(abs(one - other) <= _CLOSE * max(1, one, other) for one, other in pairs)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        write(Path(name), executed(read(Path(name))))
