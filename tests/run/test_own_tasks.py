"""A task of one's own: imported, trained on, evaluated; and a task that is a row in code."""

import json

import numpy as np
import pytest
import soundfile

from audio_lm.evaluation.definitions import read_definitions
from audio_lm.evaluation.predict import read_predictions
from audio_lm.tasks import registry
from audio_lm.tasks.targets import any_label
from audio_lm.tasks.task import Task
from tests.run.command import run
from tests.run.observed_run import equal_weights, run_training

RECIPE = """
use: {model: tiny, hardware: cpu}
tracking: {uri: "sqlite:///mlflow.db"}
tasks:
  loud: {label: dynamic, prompt: [How loud is it?, Is it loud?]}
stages:
  pretrain:
    prompt: natural
    mixture:
      sources: {loud: [mine/all-train], aqa: [mine/all-train]}
      weights: {loud: 1, aqa: 1}
    validation: {sources: {loud: [mine/all-train]}, weights: {loud: 1}}
    parts:
      encoder: {lr: 1e-3}
      projector: {lr: 1e-3}
      new_tokens: {lr: 1e-3}
      language_model: {lr: 1e-3}
    steps: 2
    pack_tokens: 200
    checkpoint_every: 1
evaluation:
  benchmarks:
    loud: {source: mine/all-train, task: loud, prompt: natural, stage: pretrain, max_new_tokens: 2}
"""
ROWS = ("p,0,How long?,1 s", "f,1.0,Is it loud?,yes", "p,,Is it loud?,no", "f,2.0,How long?,1 s")


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """Four imported clips with two labels of their own, and a recipe whose answers are one of them."""
    (tmp_path / "clips").mkdir()
    monkeypatch.chdir(tmp_path)
    for number in range(len(ROWS)):
        wave = np.random.default_rng(number).normal(0, 0.1, 8000)
        soundfile.write(f"clips/{number}.wav", wave, 16_000)
    rows = [f"{number}.wav,{row}\n" for number, row in enumerate(ROWS)]
    (tmp_path / "clips" / "metadata.csv").write_text(
        "file_name,dynamic,take,question,answer\n" + "".join(rows)
    )
    assert run("import", "table", "clips/metadata.csv", "--language", "en", "--into", "mine/all-train") == 0
    (tmp_path / "own.yaml").write_text(RECIPE)
    return tmp_path / "own.yaml"


@pytest.mark.slow
@pytest.mark.parametrize("prompt", ["tags", "natural", "chatml"])
def test_an_own_task_and_free_questions_are_trained_on_and_scored(recipe, prompt, tmp_path):
    prompts = (f"stages.pretrain.prompt={prompt}", f"evaluation.benchmarks.loud.prompt={prompt}")
    assert run("train", recipe, *prompts, "--out", "run") == 0
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert any("loud" in key and key.endswith("acc") for key in scores)
    stage = tmp_path / "run" / "stages" / "pretrain"
    assert {leaf["task"] for leaf in json.loads((stage / "mixture.json").read_text())["leaves"]} == {
        "loud",
        "aqa",
    }
    answers = read_predictions(tmp_path / "run" / "predictions" / "loud.jsonl")
    assert [answer.references for answer in answers] == [("p",), ("f",), ("p",), ("f",)]


@pytest.mark.slow
def test_a_killed_run_with_an_own_task_continues_exactly(recipe, tmp_path):
    steps = "stages.pretrain.steps=4"
    cuts, losses, _ = run_training(recipe, tmp_path / "whole", 1, steps)
    run_training(recipe, tmp_path / "killed", 1, steps, kill=2)
    rest, later, _ = run_training(recipe, tmp_path / "killed", 1, steps, "resume=auto")
    assert {3, 4} <= rest.keys() < cuts.keys()
    assert all(rest[step] == cuts[step] for step in rest)
    assert later == {step: losses[step] for step in later}
    assert equal_weights(tmp_path / "whole", tmp_path / "killed")


def test_plan_and_describe_show_it(recipe, capsys):
    assert run("describe", recipe) == 0
    assert "How loud is it?" in capsys.readouterr().out
    assert run("plan", recipe) == 0
    assert "loud" in capsys.readouterr().out


def test_a_clip_without_the_label_is_named_before_training(recipe, tmp_path, capsys):
    assert run("train", recipe, "tasks.loud.label=take") == 2
    assert "cut 'all-train-000004': no label 'take' -- task 'loud' needs take" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_an_evaluation_may_add_an_own_task_and_its_definition_is_kept(recipe, tmp_path, capsys):
    assert run("train", recipe, "--out", "run") == 0
    added = (
        "tasks.length={label: answer, prompt: '{question}'}",
        "evaluation.benchmarks.length={source: mine/all-train, task: length, prompt: natural, stage: pretrain}",
        "evaluation.benchmarks.length.max_new_tokens=2",
    )
    assert run("evaluate", "run", *added) == 0
    kept = read_definitions(tmp_path / "run" / "predictions")
    assert kept["length"].own_task.prompt == ["{question}"]
    assert kept["loud"].own_task.label == "dynamic"
    assert run("evaluate", "run", "--benchmarks", "length") == 0
    assert run("report", "run") == 0
    assert "length" in capsys.readouterr().out
    assert run("evaluate", "run", "tasks.loud.prompt=x") == 2
    assert "decides the result of this run" in capsys.readouterr().err


@pytest.mark.slow
def test_a_row_in_code_is_one_place(recipe, tmp_path, monkeypatch):
    """A task added to the table trains, is scored and previewed; its label is in no other table."""
    row = Task(name="dynamics", prompts=("How loud is it?",), needs=("dynamic",), target=any_label("dynamic"))
    monkeypatch.setitem(registry.TASKS.built_in, row.name, row)
    text = RECIPE.replace("loud:", "dynamics:").replace("task: loud", "task: dynamics")
    lines = [line for line in text.splitlines() if "label: dynamic" not in line and line != "tasks:"]
    (tmp_path / "code.yaml").write_text("\n".join(lines))
    for prompt in ("natural", "tags"):
        prompts = (f"stages.pretrain.prompt={prompt}", f"evaluation.benchmarks.dynamics.prompt={prompt}")
        assert run("train", "code.yaml", *prompts, "--out", prompt) == 0
        scores = json.loads((tmp_path / prompt / "scores.json").read_text())
        assert any("dynamics" in key for key in scores)
    assert run("plan", "code.yaml") == 0
