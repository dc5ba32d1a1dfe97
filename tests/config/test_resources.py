"""Files of the working folder win over those of the package; a note names them."""

import pytest

from audio_lm.common.errors import RecipeError
from audio_lm.config.load import load_recipe, recipe_names
from audio_lm.config.resources import find_resource, resource_folder, resource_names

MIXTURE = "sources: {sec: [own/all-train], loud: [own/all-train]}\nweights: {sec: 1, loud: 1}\n"
RECIPE = """
use: {model: demo, hardware: cpu}
stages:
  train:
    prompt: natural
    mixture: own
    parts: {encoder: {lr: 1e-3}, projector: {lr: 1e-3}, new_tokens: {lr: 1e-3}, language_model: {lr: 1e-3}}
    steps: 4
evaluation:
  benchmarks:
    loud: {source: own/all-test, task: loud, prompt: natural, stage: train}
"""
TASK = "label: loudness\nprompt: [Is it loud?, Say if it is loud.]\nmetric: macro_f1\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Working folder with a recipe, a mixture and a task of its own."""
    files = {"recipes/own.yaml": RECIPE, "conf/mixture/own.yaml": MIXTURE, "conf/task/loud.yaml": TASK}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_recipes_mixtures_and_tasks_of_the_working_folder_are_found_by_name(folder):
    composed = load_recipe("own")
    assert composed.recipe.tasks["loud"].label == "loudness"
    assert composed.recipe.evaluation.benchmarks["loud"].metrics == ["macro_f1"], "of its task"
    assert composed.where["tasks.loud.label"] == "./conf/task/loud.yaml:1"
    assert composed.where["stages.train.mixture.weights.sec"] == "./conf/mixture/own.yaml:2"
    assert composed.where["model.tokenizer.vocab_size"].startswith("conf/model/demo.yaml:")
    assert composed.notes == ()
    assert {"own", "demo"} <= set(recipe_names())


def test_a_task_in_the_recipe_or_on_the_command_line_wins_over_its_file(folder):
    (folder / "recipes" / "own.yaml").write_text(f"tasks: {{loud: {{label: noise}}}}\n{RECIPE}")
    task = load_recipe("own", ["tasks.loud.metric=acc"]).recipe.tasks["loud"]
    assert (task.label, task.metric, task.prompt[0]) == ("noise", ["acc"], "Is it loud?")


def test_a_task_that_only_the_command_line_names_is_found(folder):
    (folder / "conf" / "task" / "soft.yaml").write_text("label: loudness\nprompt: Is it soft?\n")
    overrides = [
        "+evaluation.benchmarks.soft={source: own/all-test, task: soft, prompt: natural, stage: train}"
    ]
    assert load_recipe("own", overrides).recipe.tasks["soft"].label == "loudness"
    assert "soft" not in load_recipe("own").recipe.tasks


def test_a_file_of_ours_with_the_same_name_is_replaced_and_a_note_names_it(folder):
    (folder / "conf" / "model").mkdir()
    (folder / "conf" / "model" / "demo.yaml").write_text(
        "encoder: {width: 16, num_heads: 2}\ntokenizer: {vocab_size: 300}\n"
    )
    (folder / "recipes" / "demo.yaml").write_text(RECIPE)
    composed = load_recipe("demo")
    assert composed.recipe.model.encoder.width == 16
    assert composed.notes == (
        "./recipes/demo.yaml of this folder is used instead of audio_lm's recipes/demo.yaml; rename it to use that one",
        "./conf/model/demo.yaml of this folder is used instead of audio_lm's conf/model/demo.yaml; rename it to use that one",
    )
    assert list(composed.recipe.stages) == ["train"]


def test_a_task_of_ours_cannot_be_replaced_by_a_file(folder):
    (folder / "conf" / "task" / "sec.yaml").write_text(TASK)
    with pytest.raises(RecipeError, match="task 'sec' exists already"):
        load_recipe("own")


def test_an_unknown_name_is_answered_with_both_folders(folder):
    with pytest.raises(
        RecipeError, match=r"Did you mean 'own'\? See audio_lm's conf/mixture/ and \./conf/mixture/"
    ):
        load_recipe("own", ["stages.train.mixture=onw"])


def test_a_name_is_no_path(folder):
    assert find_resource("conf", "model/../model/demo") is None
    assert find_resource("recipes", "/etc/passwd") is None
    assert find_resource("conf", "") is None


def test_in_the_repository_itself_nothing_is_replaced(monkeypatch):
    monkeypatch.chdir(resource_folder("conf").parent)
    found = find_resource("conf", "model/tiny")
    assert (found.shown, found.note) == ("conf/model/tiny.yaml", "")
    assert resource_names("conf", "scale") == ["tiny"]
