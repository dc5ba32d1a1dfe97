import json

import pytest

from tests.cli.command import run
from tests.run.recorded_runs import record_run


@pytest.mark.parametrize("option", ["--json", "--watch", None])
def test_status_is_printed_as_a_table_or_as_json(tmp_path, capsys, option):
    (tmp_path / "recipe.yaml").write_text("stages: {chat: {steps: 5}}")
    (tmp_path / "exit_reason.json").write_text('{"reason": "finished", "sentence": "done"}')
    assert run("status", tmp_path, *filter(None, (option,))) == 0
    output = capsys.readouterr().out
    assert (json.loads(output)["state"] == "ended") if option == "--json" else "finished: done" in output


def test_status_of_a_folder_without_a_run_is_refused(tmp_path, capsys):
    assert run("status", tmp_path) == 2
    assert "holds no run" in capsys.readouterr().err


def test_runs_are_listed_and_compared(small_recipe, tmp_path, capsys):
    paths = [
        record_run(small_recipe, tmp_path / "runs" / f"{arm}-{seed}", right + seed, f"seed={seed}", *settings)
        for arm, right, settings in (("a", 30, ()), ("b", 10, ("stages.chat.steps=4",)))
        for seed in (1, 2)
    ]
    assert run("runs", tmp_path / "runs", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)) == 4
    assert run("compare", *paths[:2], "--against", *paths[2:], "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert [len(found[side]["runs"]) for side in ("ours", "other")] == [2, 2]
    assert run("compare", *paths) == 0
    assert "stages.chat.steps" in capsys.readouterr().out


def test_lists_and_comparisons_of_nothing_are_refused(tmp_path, capsys):
    assert run("runs", tmp_path / "nothing") == 2
    assert "expected a folder of runs" in capsys.readouterr().err
    assert run("compare", tmp_path, "--against", tmp_path / "b", tmp_path / "c") == 2
    assert "holds no run" in capsys.readouterr().err
