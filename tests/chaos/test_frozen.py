"""Ranks and data workers that are stopped, not killed: they are detected and restarted automatically."""

import os
import signal
import time
from pathlib import Path

import pytest

from audio_lm.fault_tolerance.processes import is_alive
from tests.chaos.cluster import TIMEOUT, Cluster, json_of, lines_of
from tests.chaos.comparing import assert_same

FROZEN = 12.0  # instead of 60 s
WRITE_SECONDS = 15.0  # for the error file, on a slow machine
BUILDING = 20.0  # instead of an hour
STEPS = 16


@pytest.mark.chaos
def test_frozen_ranks_and_data_workers_are_detected_and_the_run_resumes(
    undisturbed, chaos_folder, record_property
):
    plan = [
        {"kind": "rank", "signal": "SIGSTOP", "moment": "step", "stage": "pretrain", "step": 7, "rank": 1},
        # After the restart one rank is late; the store must not hold the addresses of dead ranks.
        {"kind": "sleep", "moment": "start", "rank": 0, "seconds": 8, "after": 0},
        # Then building the model hangs.
        {"kind": "hang", "moment": "building", "rank": 1, "after": 0},
        {"kind": "data worker", "signal": "SIGSTOP", "moment": "step", "stage": "chat", "step": 5, "rank": 0},
    ]
    with Cluster(
        chaos_folder / "frozen",
        chaos_folder / "data",
        steps=STEPS,
        frozen=FROZEN,
        building=BUILDING,
        plan=plan,
    ) as cluster:
        cluster.start()
        detected, silence = wait_for_detection(cluster)
        assert cluster.wait() == [0, 0], cluster.log()
    faults = cluster.injected()
    record_property("detected after", f"{detected - faults[0]['time']:.1f} s")
    record_property("training again after", f"{next_step(cluster, faults[0]) - faults[0]['time']:.1f} s")
    record_property(
        "data worker: training again after", f"{next_step(cluster, faults[-1]) - faults[-1]['time']:.1f} s"
    )
    assert silence < FROZEN + 30, "three of the slowest steps and frozen_seconds"
    assert detected - faults[0]["time"] < silence + WRITE_SECONDS
    log = "".join(path.read_text() for path in cluster.folder.glob("node-*.log"))
    assert "stopped by a signal (state T)" in log
    assert "s in phase 'building'" in log
    assert [fault["kind"] for fault in faults] == ["rank", "sleep", "hang", "data worker"]
    assert_same(cluster, undisturbed(STEPS))


@pytest.mark.chaos
def test_a_data_worker_that_leaks_file_descriptors_costs_one_restart(
    undisturbed, chaos_folder, record_property
):
    plan = [{"kind": "leak", "moment": "data", "rank": 1, "more": 9}]
    with Cluster(chaos_folder / "leaking", chaos_folder / "data", steps=STEPS, plan=plan) as cluster:
        cluster.start()
        assert cluster.wait() == [0, 0], cluster.log()
    (fault,) = cluster.injected()
    error = json_of(cluster.out / "errors" / "rank-1.json")
    record_property("error", f"{error.get('kind')}: {error.get('text')}")
    record_property("failed after", f"{error['time'] - fault['time']:.1f} s")
    assert len(json_of(cluster.out / "attempts.json")["attempts"]) == 2
    assert_same(cluster, undisturbed(STEPS))


def wait_for_detection(cluster):
    """Wait until the watchdog reports rank 1; returns the time and the limit of silence."""
    until = time.monotonic() + TIMEOUT
    while time.monotonic() < until:
        error = json_of(cluster.out / "errors" / "rank-1.json")
        if error.get("kind") == "Frozen":
            return error["time"], json_of(cluster.out / "heartbeats" / "rank-1.json")["silence"]
        time.sleep(0.1)
    raise AssertionError(cluster.log())


def next_step(cluster, event):
    """Time of the first step in a process that was started after a fault."""
    lines = lines_of(cluster.folder / "clips-0.jsonl")
    later = [line for line in lines if line["time"] > event["time"] + 1]
    return min(
        line["time"] for line in later if (line["stage"], line["step"]) != (event["stage"], event["step"] + 1)
    )


@pytest.mark.chaos
def test_no_process_outlives_a_killed_agent(chaos_folder, record_property):
    with Cluster(chaos_folder / "orphans", chaos_folder / "data", steps=STEPS, pause=0.5) as cluster:
        cluster.start()
        beats = [cluster.beat(rank, condition=lambda beat: bool(beat["step"])) for rank in (0, 1)]
        pids = {
            pid for beat in beats for pid in (beat["pid"], *children_of(beat["pid"])) if is_of_training(pid)
        }
        assert len(pids) == 6, "a rank, its data worker and its watchdog on each node"
        killed = time.monotonic()
        for agent in cluster.agents.values():
            os.kill(agent.pid, signal.SIGKILL)
        while left := [pid for pid in pids if is_alive(pid)]:
            assert time.monotonic() - killed < 2, f"{len(left)} processes are alive"
            time.sleep(0.02)
        record_property("gone after", f"{time.monotonic() - killed:.2f} s")


def children_of(pid):
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children") as file:
            found += [int(child) for child in file.read().split()]
    return found


def is_of_training(pid):
    """False for the process that sends metrics to MLflow, which may finish."""
    command = Path(f"/proc/{pid}/cmdline").read_bytes()
    return b"worker.py" in command or b"fault_tolerance.watchdog" in command
