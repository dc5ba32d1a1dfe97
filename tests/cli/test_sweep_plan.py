import json

import pytest

from tests.cli.command import run
from tests.sweep.small_sweeps import write_recipe, write_sweep


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_plan_of_a_sweep_is_printed_and_nothing_is_written(tmp_path, capsys):
    path = write_sweep(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert run("sweep", "plan", path) == 0
    output = capsys.readouterr().out
    assert "small: 16 trials of" in output
    assert "repetition at the recipe's weights" in output
    assert sorted(tmp_path.rglob("*")) == before


def test_the_plan_is_json_and_overrides_apply(tmp_path, capsys):
    assert run("sweep", "plan", write_sweep(tmp_path), "stages.pretrain.steps=50", "--json") == 0
    table = json.loads(capsys.readouterr().out)
    assert {trial["steps"] for trial in table["trials"]} == {50}
    assert all("stages.pretrain.steps=50" in trial["overrides"] for trial in table["trials"])


def test_problems_end_the_command_with_exit_code_2_and_no_traceback(tmp_path, capsys):
    path = write_sweep(tmp_path, "budgett: 3\n", replace={"over: [sec,": "over: [sek,"})
    assert run("sweep", "plan", path) == 2
    error = capsys.readouterr().err
    assert error.startswith("audio-lm: ")
    assert "small.yaml:6: `vary.shares.over` - unknown task or group 'sek'" in error
    assert "`budgett`" in error
    assert "Traceback" not in error


def test_a_trial_on_several_devices_is_not_measured_here(tmp_path, capsys):
    write_recipe(tmp_path)
    assert run("sweep", "plan", write_sweep(tmp_path), "hardware.devices=2", "--measure") == 2
    assert "audio-lm plan" in capsys.readouterr().err
