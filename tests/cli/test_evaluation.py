import json
import math
import shutil
from pathlib import Path

import pytest

from tests.cli.command import run


@pytest.mark.parametrize("command", ["evaluate", "score", "report"])
def test_a_folder_without_a_run_is_refused(command, tmp_path, capsys):
    assert run(command, tmp_path) == 2
    assert f"audio-lm: {tmp_path} holds no run" in capsys.readouterr().err
    assert not list(Path(tmp_path).iterdir()), "nothing is written"


def test_scores_of_a_run_are_printed_and_computed_again(whole_run, capsys):
    assert run("report", whole_run.path) == 0
    table = capsys.readouterr().out
    assert run("score", whole_run.path) == 0
    assert capsys.readouterr().out == table
    assert "dialogues" in table


def test_options_without_effect_are_refused(whole_run, tmp_path, capsys):
    assert run("evaluate", whole_run.path, "--stage", "chat") == 2
    assert run("evaluate", whole_run.path, "--out", tmp_path / "x") == 2
    for option, line in zip(("--stage", "--out"), capsys.readouterr().err.splitlines(), strict=True):
        assert f"{option} has no effect without --source and --task" in line


def test_a_file_of_another_system_is_scored_and_options_of_the_other_form_are_refused(tmp_path, capsys):
    file = Path(__file__).parents[1] / "golden" / "predictions" / "table.tsv"
    assert run("score", file, "--metrics", "wer,wer_spoken", "--json") == 0
    numbers = json.loads(capsys.readouterr().out)["benchmarks"][0]["numbers"]
    assert [number["name"] for number in numbers] == ["wer", "wer_spoken"]
    assert run("score", file, "--details") == 2
    assert run("score", tmp_path, "--metrics", "wer") == 2
    assert run("score", tmp_path / "absent.json") == 2
    details, metrics, absent = capsys.readouterr().err.splitlines()
    assert "--details has no effect on a file" in details
    assert "--metrics has no effect on a run" in metrics
    assert "absent.json does not exist" in absent


def test_json_is_all_that_an_evaluation_prints_to_stdout(whole_run, tmp_path, capfd):
    folder = shutil.copytree(whole_run.path, tmp_path / "run")
    assert run("evaluate", folder, "--json") == 0
    output = capfd.readouterr()
    scores = json.loads((folder / "scores.json").read_text())
    assert scores.keys() >= json.loads(whole_run.scores.read_text()).keys()
    assert json.loads(output.out) == {"model": str(folder), "scores": scores}
    assert f"scores: {folder / 'scores.json'}" in output.err, "notes"


def test_json_of_clips_that_are_named_has_the_scores_of_the_folder(whole_run, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(
        "audio_lm.run.evaluate_model.evaluate_model", lambda *_, **__: {"mine/wer": math.inf, "mine/cer": 0.5}
    )
    assert run("evaluate", whole_run.path, "--source", "mine/all-test", "--task", "asr", "--json") == 0
    scores = json.loads(capfd.readouterr().out)["scores"]
    assert scores == {"mine/wer": None, "mine/cer": 0.5}
