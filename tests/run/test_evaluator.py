import shutil

import pytest

from audio_lm.config.load import load_recipe
from audio_lm.run.evaluator import Evaluator
from audio_lm.run.folder import RunFolder


@pytest.fixture
def copy(whole_run, tmp_path):
    shutil.copytree(whole_run.path, tmp_path / "copy")
    return RunFolder(tmp_path / "copy")


def due_on_resume(copy, small_recipe, console, *overrides):
    """Benchmarks that a resume of a finished run evaluates."""
    recipe = load_recipe(small_recipe, ["resume=auto", *overrides]).recipe
    evaluator = Evaluator(recipe, copy, None, console)
    return [*evaluator.due("pretrain"), *evaluator.due("chat")]


def test_a_benchmark_is_evaluated_again_if_answers_are_missing_or_its_definition_changed(
    copy, small_recipe, console
):
    events = "evaluation.benchmarks.events"
    assert due_on_resume(copy, small_recipe, console) == []
    assert due_on_resume(copy, small_recipe, console, "+published.events.acc=0.3") == []
    for change in ("max_clips=3", "max_new_tokens=5", "metrics=[acc, wer]", "task=sgc", "prompt=chatml"):
        assert due_on_resume(copy, small_recipe, console, f"{events}.{change}") == ["events"], change
    new = (
        "+evaluation.benchmarks.new={source: c/d-test, task: asr, metrics: [wer], prompt: tags, stage: chat}"
    )
    assert due_on_resume(copy, small_recipe, console, new) == ["new"]
    (copy.predictions / "dialogues.jsonl").unlink()
    assert due_on_resume(copy, small_recipe, console) == ["dialogues"]
    (copy.predictions / "benchmarks.json").unlink()
    assert due_on_resume(copy, small_recipe, console) == ["dialogues"], "an older run has no definitions"
    (copy.stage("pretrain") / "status.json").unlink()
    assert due_on_resume(copy, small_recipe, console) == ["events", "dialogues"], "the stage is trained again"
