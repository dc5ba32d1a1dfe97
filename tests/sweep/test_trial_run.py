"""Runs of trials as child processes."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from audio_lm.fault_tolerance.exit_status import ExitReason, write_exit_reason
from audio_lm.fault_tolerance.processes import is_alive
from audio_lm.sweep import trial_run
from audio_lm.sweep.trial import Trial
from audio_lm.sweep.trial_run import ChildRun, TrialSettings, tracked_params, train_arguments
from tests.sweep.toy_sweep import FACTS, ROOT

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
TRIAL = Trial("007", "design", {"a": 0.25, "b": 0.75}, seed=3, overrides=("seed=3", "x.weights.a=0.25"))


def end_of(code, folder, before=lambda: None):
    """End of a run of a Python program."""
    run = ChildRun([sys.executable, "-c", code], folder, None, ENVIRONMENT)
    run.start()
    before()
    return wait(run)


def wait(run):
    until = time.monotonic() + 60
    while (end := run.poll()) is None:
        assert time.monotonic() < until
        time.sleep(0.01)
    return end


def test_the_arguments_are_those_of_an_ordinary_run_that_resumes(tmp_path):
    arguments = train_arguments(FACTS, TRIAL, tmp_path / "007", nodes=2)
    assert arguments[:4] == ["train", "toy", "seed=3", "x.weights.a=0.25"]
    assert {"resume=auto", "hardware.nodes=2", f"--out={tmp_path / '007'}", "name=toy-1a2b3c4d-007"} < {
        *arguments
    }
    (params,) = [one for one in arguments if one.startswith("tracking.params=")]
    assert json.loads(params.partition("=")[2]) == tracked_params(TRIAL)
    assert tracked_params(TRIAL) == {
        "trial": "007",
        "purpose": "design",
        "share/a": "0.25",
        "share/b": "0.75",
    }


@pytest.mark.parametrize(
    ("code", "outcome", "reason"),
    [
        ("print('done')", "finished", ""),
        ("print('audio-lm: a wrong key; correct it'); exit(2)", "refused", "a wrong key; correct it"),
        ("raise ValueError('broken')", "fault", "ValueError: broken"),
        ("exit(75)", "stopped", "exit code 75"),
        ("import os; os.kill(os.getpid(), 9)", "fault", "killed by SIGKILL"),
    ],
)
def test_the_end_of_a_run_follows_from_its_exit_code_and_its_last_message(tmp_path, code, outcome, reason):
    end = end_of(code, tmp_path / "000")
    assert end.outcome == outcome
    assert reason in end.reason


def test_the_exit_reason_of_this_start_decides_where_torchrun_hides_the_code(tmp_path):
    """An exit reason that an earlier start has left does not count."""
    folder = tmp_path / "000"
    folder.mkdir()
    write_exit_reason(folder, ExitReason("preempted", "an old one"))
    assert end_of("exit(1)", folder).outcome == "fault"
    stop = "from pathlib import Path; from audio_lm.fault_tolerance.exit_status import *; "
    stop += (
        f"write_exit_reason(Path({str(folder)!r}), ExitReason('preempted', 'stopped after step 3')); exit(1)"
    )
    end = end_of(stop, folder)
    assert (end.outcome, end.reason) == ("stopped", "stopped after step 3")


def test_a_run_that_does_not_stop_in_time_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(trial_run, "STOP_PATIENCE", 0.3)
    ready = tmp_path / "ready"
    code = f"import signal, time; signal.signal(15, lambda *_: None); open({str(ready)!r}, 'w').close(); time.sleep(1000)"
    run = ChildRun([sys.executable, "-c", code], tmp_path / "000", None, ENVIRONMENT)
    run.start()
    while not ready.exists():
        time.sleep(0.01)
    run.stop()
    end = wait(run)
    assert (end.outcome, end.reason) == ("stopped", "killed by SIGKILL")


def test_a_run_dies_with_its_killed_worker(tmp_path):
    worker = f"""
import os, sys, time
from pathlib import Path
from audio_lm.sweep.trial_run import ChildRun
run = ChildRun([sys.executable, "-c", "import time; time.sleep(1000)"], Path({str(tmp_path / "000")!r}), None, dict(os.environ))
run.start()
print(run._process.pid, flush=True)
time.sleep(1000)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", worker], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    child = int(process.stdout.readline())
    assert is_alive(child)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    until = time.monotonic() + 60
    while is_alive(child):
        assert time.monotonic() < until, "the run outlived its worker"
        time.sleep(0.01)


def test_workers_of_one_machine_share_its_cores_unless_the_user_set_a_number(tmp_path, monkeypatch):
    monkeypatch.setattr(trial_run, "num_cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    starter = TrialSettings(FACTS, num_workers=3)
    assert starter(TRIAL, tmp_path).environment["OMP_NUM_THREADS"] == "2"
    assert "OMP_NUM_THREADS" not in TrialSettings(FACTS)(TRIAL, tmp_path).environment
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert starter(TRIAL, tmp_path).environment["OMP_NUM_THREADS"] == "5"


def test_a_prefix_starts_the_trial_on_several_nodes(tmp_path):
    run = TrialSettings(FACTS, prefix=("srun", "torchrun"), nodes=4)(TRIAL, tmp_path / "007")
    assert run.command[:4] == ["srun", "torchrun", "audio-lm", "train"]
    assert "hardware.nodes=4" in run.command
