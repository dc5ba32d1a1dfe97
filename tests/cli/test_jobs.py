import json

import pytest

from audio_lm.cli import main as cli


def run(*arguments):
    try:
        cli.main([*map(str, arguments)])
    except SystemExit as exited:
        return exited.code
    return 0


def test_a_dry_run_writes_the_job_script_only(small_recipe, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run("submit", small_recipe, "seed=1", "--dry-run", "--nodes", 2, "--sbatch=--qos=long") == 0
    path = tmp_path / "small.sbatch"
    assert capsys.readouterr().out.strip() == path.name
    assert "#SBATCH --qos=long" in path.read_text()
    assert path.stat().st_mode & 0o100


def test_submit_without_sbatch_is_one_sentence(small_recipe, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    assert run("submit", small_recipe) == 2
    assert "sbatch is not on PATH" in capsys.readouterr().err


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
