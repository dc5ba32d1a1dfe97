import json

import pytest

from audio_lm.cli import main as cli


def run(*arguments):
    try:
        cli.main([*map(str, arguments)])
    except SystemExit as left:
        return left.code
    return 0


def test_a_job_is_written_and_handed_to_nobody(small_recipe, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run("submit", small_recipe, "seed=1", "--dry-run", "--nodes", 2, "--sbatch=--qos=long") == 0
    path = tmp_path / "small.sbatch"
    assert capsys.readouterr().out.strip() == path.name
    assert "#SBATCH --qos=long" in path.read_text()
    assert path.stat().st_mode & 0o100


def test_where_there_is_no_cluster_a_sentence_says_so(small_recipe, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    assert run("submit", small_recipe) == 2
    assert "sbatch is not on PATH" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--json", "--watch", None])
def test_status_is_for_people_and_for_programs(tmp_path, capsys, option):
    (tmp_path / "recipe.yaml").write_text("stages: {chat: {steps: 5}}")
    (tmp_path / "exit_reason.json").write_text('{"reason": "finished", "sentence": "done"}')
    assert run("status", tmp_path, *filter(None, (option,))) == 0
    said = capsys.readouterr().out
    assert (json.loads(said)["state"] == "ended") if option == "--json" else "finished: done" in said


def test_status_of_no_run_is_refused(tmp_path, capsys):
    assert run("status", tmp_path) == 2
    assert "holds no run" in capsys.readouterr().err
