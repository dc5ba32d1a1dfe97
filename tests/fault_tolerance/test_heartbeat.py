import os
import signal
import time

import pytest

from audio_lm.common.files import read_table
from audio_lm.fault_tolerance.config import FaultToleranceConfig
from audio_lm.fault_tolerance.heartbeat import NUM_KNOWN, Heartbeat
from audio_lm.fault_tolerance.launcher_env import Launch

PATIENT = FaultToleranceConfig(frozen_seconds=60, frozen_steps=3, first_step_seconds=1800)


@pytest.fixture
def heartbeat(tmp_path):
    return Heartbeat(tmp_path, PATIENT, rank=0, launch=Launch("", is_elastic=False))


def test_time_limits_follow_from_the_measured_step_times(heartbeat):
    assert heartbeat.p99 is None
    assert (heartbeat.silence, heartbeat.step_limit, heartbeat.patience) == (60, 1800, 1800)
    for number in range(200):
        heartbeat.record_step(2.0 if number % 50 else 10.0, 1.0)
    assert heartbeat.p99 == 10.0
    assert heartbeat.silence == heartbeat.step_limit == 3 * 10 + 60
    assert heartbeat.patience == 2 * 90
    assert 2.0 <= heartbeat.mean < 4


def test_step_times_of_one_stage_do_not_limit_the_next(heartbeat):
    for _ in range(NUM_KNOWN):
        heartbeat.record_step(100.0, 1.0)
    assert heartbeat.step_limit == 360
    heartbeat.begin_stage("chat", step=0, steps=10)
    assert heartbeat.step_limit == 1800


def test_a_phase_within_another_restores_it_and_counts_as_progress(heartbeat):
    heartbeat.phase("step", 90)
    with heartbeat.within("evaluation"):
        assert (heartbeat.phase_name, heartbeat.limit, heartbeat.ticks) == ("evaluation", None, 2)
        heartbeat.tick()
    assert (heartbeat.phase_name, heartbeat.limit, heartbeat.ticks) == ("step", 90, 4)


def test_phases_within_a_step_extend_the_timeout_of_collectives_and_those_before_it_do_not(
    heartbeat, monkeypatch
):
    for _ in range(NUM_KNOWN):
        heartbeat.record_step(1.0, 1.0)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    patience = heartbeat.patience
    for in_step, expected in ((False, patience), (True, patience + 100)):
        with heartbeat.within("building", 3600, in_step=in_step):
            assert (heartbeat.phase_name, heartbeat.limit) == ("building", 3600)
            now += 100
        assert heartbeat.patience == expected


def until(condition, seconds=15):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def test_the_watchdog_writes_heartbeats_and_a_restart_reads_them(tmp_path):
    path = tmp_path / "heartbeats" / "rank-0.json"
    heartbeat = Heartbeat(tmp_path, PATIENT, rank=0, launch=Launch("", is_elastic=False))
    heartbeat.start()
    try:
        assert not path.exists(), "the run folder does not exist yet"
        heartbeat.open(attempt=3)
        heartbeat.begin_stage("chat", step=5, steps=9)
        heartbeat.record_step(0.5, 0.25)
        heartbeat.phase("step", 60)
        assert until(lambda: read_table(path).get("phase") == "step")
        beat = read_table(path)
        assert {name: beat[name] for name in ("step", "steps", "stage", "attempt", "pid")} == {
            "step": 5,
            "steps": 9,
            "stage": "chat",
            "attempt": 3,
            "pid": os.getpid(),
        }
        assert (beat["step_seconds"], beat["busy_seconds"], beat["step_seconds_p99"]) == (0.5, 0.25, 0.5)
        assert abs(beat["time"] - time.time()) < 5
        os.kill(heartbeat._watchdog.pid, signal.SIGKILL)  # another watchdog is started
        heartbeat.tick()
        assert until(lambda: read_table(path)["ticks"] == heartbeat.ticks)
    finally:
        heartbeat.stop()
    later = Heartbeat(tmp_path, PATIENT, rank=0, launch=Launch("", is_elastic=False))
    later.open(attempt=4)
    later.begin_stage("chat", step=5, steps=9)
    later._is_over.set()
    assert later.step_limit == 3 * 0.5 + 60
