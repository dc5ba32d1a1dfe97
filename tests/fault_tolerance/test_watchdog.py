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
from audio_lm.fault_tolerance.watchdog import AFTER_ERROR, Watch

ROOT = Path(__file__).parents[2]
RANK = """
import sys, time
from pathlib import Path
from audio_lm.fault_tolerance.config import FaultToleranceConfig
from audio_lm.fault_tolerance.heartbeat import Heartbeat
from audio_lm.fault_tolerance.launcher_env import Launch
heart = Heartbeat(Path(sys.argv[1]), FaultToleranceConfig(frozen_seconds=1.5), rank=0, launch=Launch("job", is_elastic=True))
heart.start()
heart.open(attempt=1)
heart.begin_stage("chat", step=7, steps=9)
heart.phase("step", float(sys.argv[2]))
print(heart._dog.pid, flush=True)
def where_it_hangs():
    time.sleep(60)
where_it_hangs()
"""


def beat(**values):
    return {"ticks": 1, "limit": 90.0, "silence": 60.0, "phase": "step", **values}


def test_a_rank_that_beats_and_ticks_is_well_for_ever():
    watched = Watch()
    for number in range(1000):
        watched.receive(beat(ticks=number))
        watched.pass_time(50, has_failed=False)
        assert watched.verdict == ""


def test_silence_and_standing_still_are_told_apart():
    watched = Watch()
    watched.receive(beat())
    watched.pass_time(61, has_failed=False)
    assert watched.verdict == "no sign of life for 61 s"
    watched.receive(beat())
    assert watched.verdict == ""
    watched.pass_time(30, has_failed=False)
    watched.receive(beat())
    assert watched.verdict == "nothing has ended for 91 s in phase 'step'"
    watched.receive(beat(ticks=2))
    assert watched.verdict == ""


def test_what_may_take_hours_only_has_to_live():
    watched = Watch()
    for _ in range(1000):
        watched.receive(beat(limit=None, phase="evaluation"))
        watched.pass_time(50, has_failed=False)
    assert watched.verdict == ""


def test_a_rank_that_stays_after_another_has_failed_is_ended():
    watched = Watch()
    watched.receive(beat(limit=None))
    watched.pass_time(AFTER_ERROR - 1, has_failed=True)
    watched.receive(beat(limit=None))
    assert watched.verdict == ""
    watched.pass_time(2, has_failed=True)
    assert "after a rank has failed" in watched.verdict


def test_before_the_first_beat_nothing_is_known():
    watched = Watch()
    watched.pass_time(1e6, has_failed=False)
    assert watched.verdict == ""


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


def test_a_stopped_rank_is_killed_and_what_is_known_is_written(rank, tmp_path):
    process, dog = rank(60)
    while not (tmp_path / "heartbeats" / "rank-0.json").is_file():
        time.sleep(0.05)
    process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    assert process.wait(timeout=20) == -signal.SIGKILL
    assert time.monotonic() - began < 10
    error = read_table(tmp_path / "errors" / "rank-0.json")
    assert (error["kind"], error["stage"], error["step"]) == ("Frozen", "chat", 7)
    assert "stopped by a signal (state T)" in error["text"]
    assert "rank 0: no sign of life" in process.stderr.read()
    assert_gone(dog)


def test_a_rank_that_lives_and_ends_nothing_is_killed_with_its_traceback(rank, tmp_path):
    process, _ = rank(1)
    assert process.wait(timeout=20) == -signal.SIGKILL
    error = json.loads((tmp_path / "errors" / "rank-0.json").read_text())
    assert "nothing has ended" in error["text"]
    assert "where_it_hangs" in error["trace"], error["trace"]


def test_the_watchdog_goes_with_its_rank_and_not_before(rank, tmp_path):
    process, dog = rank(60)
    while not (tmp_path / "heartbeats" / "rank-0.json").is_file():
        time.sleep(0.05)
    os.kill(dog, signal.SIGTERM)  # as a scheduler tells every process of a job
    time.sleep(0.3)
    assert is_alive(dog)
    process.kill()
    process.wait()
    assert_gone(dog)


def assert_gone(pid):
    until = time.monotonic() + 2
    while is_alive(pid):
        assert time.monotonic() < until
        time.sleep(0.02)
