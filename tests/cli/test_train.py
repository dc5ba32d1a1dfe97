import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.command import run

ROOT = Path(__file__).parents[2]


def test_describe_shows_the_demo(capsys):
    assert run("describe", "demo", "--examples", "0") == 0
    assert "language" in capsys.readouterr().out


def test_train_py_is_the_train_command():
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "train.py", "recipes/nothing.yaml"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
    )
    assert done.returncode == 2
    assert "unknown recipe" in done.stderr


def test_a_plan_as_json_needs_no_audio_and_little_time(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    start = time.monotonic()
    assert run("plan", str(ROOT / "recipes" / "qwen_audio.yaml"), "--json") == 0
    assert time.monotonic() - start < 20
    pretrain, chat = json.loads(capsys.readouterr().out)["stages"]
    assert len(pretrain["leaves"]) == len(pretrain["examples"]) == 31
    for stage in (pretrain, chat):
        assert sum(leaf["share_of_clips"] for leaf in stage["leaves"]) == pytest.approx(1)
        assert all(example["pieces"] and example["num_tokens"] for example in stage["examples"])
        assert all(example["is_imagined"] for example in stage["examples"])


def test_ctrl_c_exits_with_130_and_a_remedy(monkeypatch, capsys):
    def stopped(*_, **__):
        raise KeyboardInterrupt("stopped at step 3 of stage 'chat'; resume=auto continues from there")

    monkeypatch.setattr("audio_lm.run.train.train", stopped)
    assert run("train", "demo", "hardware.devices=1") == 130
    assert "audio-lm: stopped at step 3 of stage 'chat'; resume=auto continues" in capsys.readouterr().err


def test_a_dry_run_prints_the_job_script_that_is_written_and_submitted_without_it(
    small_recipe, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    options = ("--nodes", 2, "--sbatch=--qos=long")
    assert run("submit", small_recipe, "seed=1", *options, "--dry-run") == 0
    output = capsys.readouterr()
    assert output.err == "would write small.sbatch, and pass it to sbatch:\n"
    assert "#SBATCH --qos=long" in output.out
    assert not list(tmp_path.iterdir()), "nothing is written"
    fake = tmp_path / "bin" / "sbatch"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho Submitted $1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}{os.pathsep}{os.environ['PATH']}")
    assert run("submit", small_recipe, "seed=1", *options) == 0
    assert capsys.readouterr().out == "Submitted small.sbatch\n"
    path = tmp_path / "small.sbatch"
    assert path.read_text() == output.out
    assert path.stat().st_mode & 0o100


def test_submit_without_sbatch_is_one_sentence(small_recipe, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    assert run("submit", small_recipe) == 2
    assert "sbatch is not on PATH" in capsys.readouterr().err
