import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from audio_lm.common.files import read_table
from audio_lm.fault_tolerance.processes import is_alive
from audio_lm.fault_tolerance.watchdog import EXIT_TIMEOUT, Watch

ROOT = Path(__file__).parents[2]
RANK = """
import sys, time
from pathlib import Path
from audio_lm.fault_tolerance.config import FaultToleranceConfig
from audio_lm.fault_tolerance.heartbeat import Heartbeat
from audio_lm.fault_tolerance.launcher_env import Launch
launch, config = Launch("job", is_elastic=True), FaultToleranceConfig(frozen_seconds=1.5)
heartbeat = Heartbeat(Path(sys.argv[1]), config, rank=0, launch=launch)
heartbeat.start()
heartbeat.open(attempt=1)
heartbeat.begin_stage("chat", step=7, steps=9)
heartbeat.phase("step", float(sys.argv[2]))
print(heartbeat._watchdog.pid, flush=True)
def where_it_hangs():
    time.sleep(60)
where_it_hangs()
"""


def beat(**values):
    return {"ticks": 1, "limit": 90.0, "silence": 60.0, "phase": "step", **values}


def test_a_rank_with_heartbeats_and_progress_is_never_killed():
    watched = Watch()
    for number in range(1000):
        watched.receive(beat(ticks=number))
        watched.pass_time(50, has_failed=False)
        assert watched.fault == ""


def test_missing_heartbeats_and_missing_progress_are_distinguished():
    watched = Watch()
    watched.receive(beat())
    watched.pass_time(61, has_failed=False)
    assert watched.fault == "no heartbeat for 61 s"
    watched.receive(beat())
    assert watched.fault == ""
    watched.pass_time(30, has_failed=False)
    watched.receive(beat())
    assert watched.fault == "no progress for 91 s in phase 'step'"
    watched.receive(beat(ticks=2))
    assert watched.fault == ""


def test_a_phase_without_a_limit_needs_only_heartbeats():
    watched = Watch()
    for _ in range(1000):
        watched.receive(beat(limit=None, phase="evaluation"))
        watched.pass_time(50, has_failed=False)
    assert watched.fault == ""


def test_a_rank_that_stays_after_another_rank_has_failed_is_killed():
    watched = Watch()
    watched.receive(beat(limit=None))
    watched.pass_time(EXIT_TIMEOUT - 1, has_failed=True)
    watched.receive(beat(limit=None))
    assert watched.fault == ""
    watched.pass_time(2, has_failed=True)
    assert "after a rank has failed" in watched.fault


def test_no_rank_is_killed_before_its_first_heartbeat():
    watched = Watch()
    watched.pass_time(1e6, has_failed=False)
    assert watched.fault == ""


@pytest.fixture
def rank(tmp_path):
    started = []

    def start(limit):
        command = [sys.executable, "-c", RANK, str(tmp_path), str(limit)]
        started.append(
            subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
            )
        )
        return started[0], int(started[0].stdout.readline())

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_stopped_rank_is_killed_and_its_error_is_written(rank, tmp_path):
    process, watchdog = rank(60)
    while not (tmp_path / "heartbeats" / "rank-0.json").is_file():
        time.sleep(0.05)
    process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    assert process.wait(timeout=20) == -signal.SIGKILL
    assert time.monotonic() - began < 10
    error = read_table(tmp_path / "errors" / "rank-0.json")
    assert (error["kind"], error["stage"], error["step"]) == ("Frozen", "chat", 7)
    assert "stopped by a signal (state T)" in error["text"]
    assert "rank 0: no heartbeat" in process.stderr.read()
    assert_gone(watchdog)


def test_a_rank_without_progress_is_killed_with_its_traceback(rank, tmp_path):
    process, _ = rank(1)
    assert process.wait(timeout=20) == -signal.SIGKILL
    error = json.loads((tmp_path / "errors" / "rank-0.json").read_text())
    assert "no progress" in error["text"]
    assert "where_it_hangs" in error["trace"], error["trace"]


def test_the_watchdog_ends_with_its_rank_and_not_before(rank, tmp_path):
    process, watchdog = rank(60)
    while not (tmp_path / "heartbeats" / "rank-0.json").is_file():
        time.sleep(0.05)
    os.kill(watchdog, signal.SIGTERM)  # as a scheduler signals every process of a job
    time.sleep(0.3)
    assert is_alive(watchdog)
    process.kill()
    process.wait()
    assert_gone(watchdog)


def assert_gone(pid):
    until = time.monotonic() + 2
    while is_alive(pid):
        assert time.monotonic() < until
        time.sleep(0.02)
