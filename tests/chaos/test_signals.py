"""Stop signals: whichever process receives one, all ranks save the same step and the run resumes bit for bit."""

import os
import signal
import time

import pytest

from tests.chaos.cluster import RESUME, Cluster, json_of
from tests.chaos.comparing import assert_same, clips_of

STEPS = 16
PAUSE = 0.3  # of a step
SAVE = 20.0  # a bound on what hangs, on a slow machine; an exit waits for MLflow too
WAYS_TO_STOP = (
    ("SIGTERM to one rank", lambda cluster: send(cluster, signal.SIGTERM, [1])),
    ("SIGTERM to all ranks", lambda cluster: send(cluster, signal.SIGTERM, [0, 1])),
    ("SIGTERM to the agents", lambda cluster: [agent.terminate() for agent in cluster.agents.values()]),
    ("SIGUSR1", lambda cluster: send(cluster, signal.SIGUSR1, [0, 1])),
    ("SIGUSR1, 0.2 s apart", lambda cluster: send(cluster, signal.SIGUSR1, [0, 1], skew=0.2)),
    ("SIGUSR1, 1 s apart", lambda cluster: send(cluster, signal.SIGUSR1, [1, 0], skew=1)),
    ("SIGUSR1, 3 s apart", lambda cluster: send(cluster, signal.SIGUSR1, [0, 1], skew=3)),
)


def send(cluster, number, ranks, skew=0.0):
    pids = [cluster.pid(rank) for rank in ranks]
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            assert skew > 1, "it exited before it could receive the signal"
        time.sleep(skew)


def is_training(beat):
    return beat["phase"] in ("step", "data") and beat["step"]


@pytest.mark.chaos
def test_a_run_stopped_by_signals_ends_with_the_same_output(undisturbed, chaos_folder, record_property):
    with Cluster(chaos_folder / "signals", chaos_folder / "data", steps=STEPS, pause=PAUSE) as cluster:
        for name, stop in WAYS_TO_STOP:
            cluster.start(RESUME)
            beats = [cluster.beat(rank, condition=is_training) for rank in (0, 1)]
            signalled = time.time()
            stop(cluster)
            codes = cluster.wait()
            reason = cluster.exit_reason()
            assert all(codes), f"{name}: an agent exited with {codes}, as if the run were finished"
            assert (reason["reason"], reason["exit_code"]) == ("preempted", 75), (
                f"{name}: {reason}\n{cluster.log()}"
            )
            waited = checkpoint_of(cluster, reason["stage"]).stat().st_mtime - signalled
            times = f"{waited:.2f} s to the checkpoint, {reason['time'] - signalled:.1f} s to the exit reason"
            record_property(name, f"{times}, {time.time() - signalled:.1f} s to the end")
            assert waited < 2 * (PAUSE + 0.5) + SAVE, f"{name}: {waited:.1f} s"
            assert saved_at(cluster, reason) == reason["step"], name
            assert reason["step"] >= 1, name
            assert len({beat["pid"] for beat in beats}) == 2
        cluster.environment["CHAOS_PAUSE"] = "0"
        cluster.start(RESUME)
        assert cluster.wait() == [0, 0], cluster.log()
    assert_same(cluster, undisturbed(STEPS))


def checkpoint_of(cluster, stage):
    """Manifest of the newest checkpoint; it is written last."""
    folder = cluster.out / "stages" / stage
    return folder / "checkpoints" / json_of(folder / "status.json")["checkpoint"] / "MANIFEST.json"


def saved_at(cluster, reason):
    """Step of the checkpoint; both ranks must have trained on all steps before it and on none after it."""
    status = json_of(cluster.out / "stages" / reason["stage"] / "status.json")
    for rank in (0, 1):
        steps = [
            step
            for stage, step, of_rank in clips_of(cluster.folder)
            if (stage, of_rank) == (reason["stage"], rank)
        ]
        assert max(steps) + 1 == status["step"], f"rank {rank} was at {max(steps)}"
    return status["step"]
