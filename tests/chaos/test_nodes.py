"""A node is lost and returns: the run continues with the nodes that are left, on the same clips."""

import os
import signal
import time

import pytest

from tests.chaos.cluster import Cluster
from tests.chaos.comparing import clips_of, values_of

STEPS = 16


@pytest.mark.chaos
def test_a_run_continues_without_a_lost_node_and_with_it_after_its_return(
    undisturbed, chaos_folder, record_property
):
    reference = undisturbed(STEPS)
    with Cluster(
        chaos_folder / "nodes", chaos_folder / "data", nodes="1:2", steps=STEPS, pause=1.0
    ) as cluster:
        cluster.start()
        cluster.beat(1, condition=lambda beat: (beat["step"] or 0) >= 4)
        os.kill(cluster.agents[1].pid, signal.SIGKILL)
        lost = time.time()
        alone = cluster.beat(0, condition=lambda beat: beat["attempt"] == 2 and (beat["step"] or 0) >= 5)
        record_property("alone after", f"{alone['time'] - lost:.1f} s")
        cluster.start_node(1)
        back = time.time()
        both = cluster.beat(1, condition=lambda beat: beat["attempt"] >= 3 and bool(beat["step"]))
        record_property("together after", f"{both['time'] - back:.1f} s")
        cluster.environment["CHAOS_PAUSE"] = "0"
        assert cluster.wait() == [0, 0], cluster.log()
    assert clips_by_step(cluster) == clips_by_step(reference), "other clips"
    ours, theirs = values_of(cluster.out), values_of(reference.out)
    assert ours.keys() == theirs.keys()
    for key, (value,) in ours.items():
        assert float.fromhex(value) == pytest.approx(float.fromhex(theirs[key][0]), rel=1e-6), key
    log = (cluster.folder / "node-0.log").read_text()
    assert log.count("ranks was 2 and is 1") == log.count("ranks was 1 and is 2") == 1, "no node was lost"


def clips_by_step(cluster):
    """Clips of every step, over all ranks."""
    clips = {}
    for (stage, step, _), entries in clips_of(cluster.folder).items():
        clips.setdefault((stage, step), set()).update(*entries)
    return clips
