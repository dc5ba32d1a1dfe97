"""Ranks and data workers that are stopped, not killed: found and begun again without anybody's help."""

import os
import signal
import time
from pathlib import Path

import pytest

from audio_lm.fault_tolerance.processes import is_alive
from tests.chaos.cluster import PATIENCE, Cluster, json_of, lines_of
from tests.chaos.comparing import assert_same

FROZEN = 12.0  # instead of 60 s
FOR_WRITING = 15.0  # what it was and where, and for a slow machine
BUILDING = 20.0  # instead of an hour
STEPS = 16


@pytest.mark.chaos
def test_a_frozen_rank_and_a_frozen_data_worker_are_found_and_the_run_goes_on(
    undisturbed, chaos_folder, record_property
):
    plan = [
        {"kind": "rank", "signal": "SIGSTOP", "moment": "step", "stage": "pretrain", "step": 7, "rank": 1},
        # Afterwards one of them comes late, to the others' addresses of the time before.
        {"kind": "sleep", "moment": "start", "rank": 0, "seconds": 8, "after": 0},
        # Then its model is never ready.
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
        found, silence = found_at(cluster)
        assert cluster.wait() == [0, 0], cluster.log()
    struck = cluster.struck()
    record_property("found after", f"{found - struck[0]['time']:.1f} s")
    record_property("trained again after", f"{next_step(cluster, struck[0]) - struck[0]['time']:.1f} s")
    record_property(
        "data worker: trained again after", f"{next_step(cluster, struck[-1]) - struck[-1]['time']:.1f} s"
    )
    assert silence < FROZEN + 30, "of three of the slowest steps and what is added"
    assert found - struck[0]["time"] < silence + FOR_WRITING
    said = "".join(path.read_text() for path in cluster.folder.glob("node-*.log"))
    assert "stopped by a signal (state T)" in said
    assert "s in phase 'building'" in said
    assert [one["kind"] for one in struck] == ["rank", "sleep", "hang", "data worker"]
    assert_same(cluster, undisturbed(STEPS))


@pytest.mark.chaos
def test_a_data_worker_that_leaves_files_open_costs_a_restart(undisturbed, chaos_folder, record_property):
    plan = [{"kind": "leak", "moment": "data", "rank": 1, "more": 9}]
    with Cluster(chaos_folder / "leaking", chaos_folder / "data", steps=STEPS, plan=plan) as cluster:
        cluster.start()
        assert cluster.wait() == [0, 0], cluster.log()
    (struck,) = cluster.struck()
    error = json_of(cluster.out / "errors" / "rank-1.json")
    record_property("said", f"{error.get('kind')}: {error.get('text')}")
    record_property("failed after", f"{error['time'] - struck['time']:.1f} s")
    assert len(json_of(cluster.out / "attempts.json")["attempts"]) == 2
    assert_same(cluster, undisturbed(STEPS))


def found_at(cluster):
    """When the watchdog had its say."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        error = json_of(cluster.out / "errors" / "rank-1.json")
        if error.get("kind") == "Frozen":
            return error["time"], json_of(cluster.out / "heartbeats" / "rank-1.json")["silence"]
        time.sleep(0.1)
    raise AssertionError(cluster.log())


def next_step(cluster, event):
    """When a step was begun in a process that was started after the event."""
    lines = lines_of(cluster.folder / "heard-0.jsonl")
    later = [one for one in lines if one["time"] > event["time"] + 1]
    return min(
        one["time"] for one in later if (one["stage"], one["step"]) != (event["stage"], event["step"] + 1)
    )


@pytest.mark.chaos
def test_nobody_outlives_an_agent_that_is_killed(chaos_folder, record_property):
    with Cluster(chaos_folder / "orphans", chaos_folder / "data", steps=STEPS, pause=0.5) as cluster:
        cluster.start()
        beats = [cluster.beat(rank, is_meant=lambda beat: bool(beat["step"])) for rank in (0, 1)]
        ours = {
            pid for beat in beats for pid in (beat["pid"], *children_of(beat["pid"])) if is_of_training(pid)
        }
        assert len(ours) == 6, "a rank, its data worker and its watchdog on each node"
        began = time.monotonic()
        for agent in cluster.agents.values():
            os.kill(agent.pid, signal.SIGKILL)
        while left := [pid for pid in ours if is_alive(pid)]:
            assert time.monotonic() - began < 2, f"{len(left)} processes live on"
            time.sleep(0.02)
        record_property("gone after", f"{time.monotonic() - began:.2f} s")


def children_of(pid):
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children") as file:
            found += [int(child) for child in file.read().split()]
    return found


def is_of_training(pid):
    """Whoever sends curves to their store may finish that."""
    command = Path(f"/proc/{pid}/cmdline").read_bytes()
    return b"worker.py" in command or b"fault_tolerance.watchdog" in command
