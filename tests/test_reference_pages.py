"""Pages that scripts/reference_pages.py makes from the code are current and complete."""

import importlib.util
import re
from pathlib import Path

import pytest
import typer

from audio_lm.cli.main import app
from audio_lm.corpora.imports.registry import FORMATS
from audio_lm.metrics.registry import METRICS
from audio_lm.tasks.registry import TASKS

SCRIPT = Path(__file__).parents[1] / "scripts" / "reference_pages.py"


def load():
    spec = importlib.util.spec_from_file_location("reference_pages", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def script():
    return load()


@pytest.fixture(scope="module")
def pages(script):
    return script.pages()


@pytest.mark.parametrize("name", ["tasks.md", "formats.md", "metrics.md"])
def test_a_page_is_current(name, script, pages):
    assert (script.DOCS / name).read_text() == pages[name], "run .venv/bin/python scripts/reference_pages.py"


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_a_task_has_a_section_with_tags_prompts_and_labels(task, pages):
    section = pages["tasks.md"].partition(f"\n## {task.name}\n")[2].partition("\n## ")[0]
    assert task.tags in section
    assert all(prompt.removeprefix("qwen2-audio:") in section for prompt in task.prompts + task.prompts_zh)
    (row,) = re.findall(rf"^\| \[{task.name}\].*$", pages["tasks.md"], flags=re.MULTILINE)
    assert all(f"`{word}`" in row for word in (*task.needs, *task.metrics))


def test_every_format_and_metric_has_a_row(pages):
    assert re.findall(r"^\| \[([\w-]+)\]", pages["formats.md"], flags=re.MULTILINE) == list(FORMATS)
    assert re.findall(r"^\| `(\w+)`", pages["metrics.md"], flags=re.MULTILINE) == list(METRICS)


def test_every_option_of_a_format_is_one_of_the_import(script, pages):
    command = typer.main.get_command(app).commands["import"]
    options = {option for parameter in command.params for option in parameter.opts}
    shown = set(re.findall(r"`(--\w+)`", pages["formats.md"]))
    assert shown
    assert shown <= options


def test_no_row_has_a_bar_in_a_cell(pages):
    for text in pages.values():
        for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
            assert len({row.count("|") for row in table.splitlines()}) == 1
