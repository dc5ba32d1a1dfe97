import pytest

from audio_lm.bench.gpu import demo
from audio_lm.bench.gpu.demo import RunFailed, overrides, run_demo
from audio_lm.bench.gpu.parts import Task
from audio_lm.config.load import load_recipe

SCRIPT = """
import json, pathlib, signal, sys, time
stage = pathlib.Path("runs/demo-1/stages/language")
stage.mkdir(parents=True)
stage.joinpath("status.json").write_text(json.dumps({"finished": True}))
print("trained", *sys.argv[1:3])
"""


def run(tmp_path, monkeypatch, script, seconds=60.0):
    (tmp_path / "script.py").write_text(script)
    monkeypatch.setattr(demo, "PROGRAM", (str(tmp_path / "script.py"),))
    task = Task(tmp_path / "figures", seconds, is_rehearsal=True)
    run_demo(task)
    return task.figures


def test_a_gpu_gets_a_short_run_of_the_whole_recipe(tmp_path):
    recipe = load_recipe("demo", overrides(Task(tmp_path, 1.0, has_gpu=True))).recipe
    assert (recipe.hardware.accelerator, recipe.hardware.devices, recipe.hardware.precision) == (
        "gpu",
        1,
        "bf16",
    )
    assert {name: stage.steps for name, stage in recipe.stages.items()} == demo.STEPS
    whole = load_recipe("demo").recipe
    assert {*recipe.corpora["synthetic"]["clips"]} == {*whole.corpora["synthetic"]["clips"]}


def test_output_and_finished_stages_are_kept(tmp_path, monkeypatch):
    figures = run(tmp_path, monkeypatch, SCRIPT)
    assert figures["exit_code"] == 0
    assert figures["finished"] == ["language"]
    assert figures["output"] == ["trained train demo"]


def test_a_run_that_fails_is_a_failure(tmp_path, monkeypatch):
    with pytest.raises(RunFailed, match="exit code 3"):
        run(tmp_path, monkeypatch, "raise SystemExit(3)")


def test_a_run_over_its_time_is_stopped_with_a_signal(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "LEFT_FOR_THE_END", 4.0)
    figures = run(tmp_path, monkeypatch, "import time; time.sleep(60)", seconds=4.5)
    assert figures["stopped"]
    assert figures["exit_code"] == -15
