"""Notebooks run from their first cell to their last, on the results stored beside them, and are kept without outputs."""

import ast
import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
SHOWN = ("_repr_png_", "_repr_markdown_")


def cells_of(path, kind):
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == kind]


def run_cell(source, names):
    """Run a cell as Jupyter does; returns what it would show: the value of its last line."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names) if last else None


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs_and_every_picture_and_text_can_be_shown(path, monkeypatch):
    monkeypatch.chdir(path.parent)  # as Jupyter does
    names, kinds = {}, set()
    for number, cell in enumerate(cells_of(path, "code")):
        value = run_cell("".join(cell["source"]), names)
        assert value is not None, f"cell {number} shows nothing"
        for kind in SHOWN:
            if hasattr(value, kind):
                assert len(getattr(value, kind)()) > 100, f"cell {number}"
                kinds.add(kind)
    assert kinds == set(SHOWN)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_kept_without_outputs_and_explains_its_cells(path):
    code, text = cells_of(path, "code"), cells_of(path, "markdown")
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)
    assert len(text) >= len(code) / 2


def test_there_is_a_notebook():
    assert NOTEBOOKS
