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
