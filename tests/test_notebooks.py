"""Notebooks run from their first cell to their last, and are kept without outputs; those of a run share a small one."""

import ast
import json
import re
import shutil
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SHOWN = ("_repr_png_", "_repr_markdown_", "_repr_html_")
ALONE = ("mixture_sweep.ipynb",)  # without a run
TOGETHER = [path.name for path in NOTEBOOKS if path.name not in ALONE]
MAX_CELL_LINES = 25
LINK = re.compile(r"\]\(([^)]+)\)|`(\w+\.ipynb)`")


def cells_of(path, kind):
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == kind]


def run_cell(source, names):
    """Run a cell as Jupyter does; returns what it would show: the value of its last line."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names) if last else None


@pytest.mark.slow
@pytest.mark.parametrize("names", [ALONE, TOGETHER], ids=["alone", "of a run"])
def test_notebooks_run_and_every_picture_text_and_player_can_be_shown(names, monkeypatch, tmp_path):
    """Run in a copy of the folder, as a user who starts Jupyter there; the first one trains the small run for all."""
    shutil.copytree(FOLDER, tmp_path / "notebooks", ignore=shutil.ignore_patterns("work"))
    monkeypatch.chdir(tmp_path / "notebooks")
    for name in names:
        values, kinds = {}, set()
        for number, cell in enumerate(cells_of(Path(name), "code")):
            value = run_cell("".join(cell["source"]), values)
            assert value is not None, f"{name}: cell {number} shows nothing"
            for kind in SHOWN:
                if hasattr(value, kind):
                    assert len(getattr(value, kind)()) > 40, f"{name}: cell {number}"
                    kinds.add(kind)
        assert "_repr_png_" in kinds, name
        assert kinds & {"_repr_markdown_", "_repr_html_"}, name


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_kept_without_outputs_and_explains_its_cells(path):
    code, text = cells_of(path, "code"), cells_of(path, "markdown")
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)
    assert len(text) >= len(code) / 2
    assert all(len(cell["source"]) <= MAX_CELL_LINES for cell in code)
    assert "## Next" in "".join(text[-1]["source"])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_links_of_a_notebook_have_targets(path):
    text = "\n".join("".join(cell["source"]) for cell in cells_of(path, "markdown"))
    links = [link or notebook for link, notebook in LINK.findall(text)]
    assert [link for link in links if not (FOLDER / link.partition("#")[0]).exists()] == []


def test_notebooks_that_need_a_run_take_one_at_the_top():
    assert len(TOGETHER) >= 5
    for name in TOGETHER:
        assert any(line.startswith("RUN = None") for line in cells_of(FOLDER / name, "code")[0]["source"]), (
            name
        )
