"""A node is lost and comes back: the run goes on with what is there, and hears the same."""

import os
import signal
import time

import pytest

from tests.chaos.cluster import Cluster
from tests.chaos.comparing import clips_of, values_of

STEPS = 16


@pytest.mark.chaos
def test_a_run_goes_on_with_the_nodes_that_are_left_and_with_one_that_comes_back(
    undisturbed, chaos_folder, record_property
):
    whole = undisturbed(STEPS)
    with Cluster(
        chaos_folder / "nodes", chaos_folder / "data", nodes="1:2", steps=STEPS, pause=0.3
    ) as cluster:
        cluster.start()
        cluster.beat(1, is_meant=lambda beat: (beat["step"] or 0) >= 4)
        os.kill(cluster.agents[1].pid, signal.SIGKILL)
        lost = time.time()
        alone = cluster.beat(0, is_meant=lambda beat: beat["attempt"] == 2 and (beat["step"] or 0) >= 5)
        record_property("alone after", f"{alone['time'] - lost:.1f} s")
        cluster.start_node(1)
        back = time.time()
        both = cluster.beat(1, is_meant=lambda beat: beat["attempt"] >= 3 and bool(beat["step"]))
        record_property("together after", f"{both['time'] - back:.1f} s")
        cluster.environment["CHAOS_PAUSE"] = "0"
        assert cluster.wait() == [0, 0], cluster.log()
    assert together(cluster) == together(whole), "other clips"
    ours, theirs = values_of(cluster.out), values_of(whole.out)
    assert ours.keys() == theirs.keys()
    for key, (value,) in ours.items():
        assert float.fromhex(value) == pytest.approx(float.fromhex(theirs[key][0]), rel=1e-6), key
    said = (cluster.folder / "node-0.log").read_text()
    assert said.count("ranks was 2 and is 1") == said.count("ranks was 1 and is 2") == 1, "nobody was lost"


def together(cluster):
    """Clips of every step, whoever heard them."""
    heard = {}
    for (stage, step, _), ways in clips_of(cluster.folder).items():
        heard.setdefault((stage, step), set()).update(*ways)
    return heard
