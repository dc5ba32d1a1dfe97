"""Clocks that are set back and machines whose name changes: what was first is told by steps and numbers."""

import pytest

from tests.chaos.cluster import Cluster, json_of
from tests.chaos.comparing import assert_same

STEPS = 16


@pytest.mark.chaos
def test_every_start_an_hour_before_the_last_one_under_another_name_changes_nothing(
    undisturbed, chaos_folder
):
    plan = [
        {"kind": "rank", "moment": "step", "stage": "pretrain", "step": 8, "rank": 0},
        {"kind": "rank", "moment": "save", "stage": "chat", "step": 8, "rank": 1},
    ]
    with Cluster(chaos_folder / "clocks", chaos_folder / "data", steps=STEPS, plan=plan) as cluster:
        cluster.environment["CHAOS_CLOCK"] = "set back at every start"
        cluster.start()
        assert cluster.wait() == [0, 0], cluster.log()
    assert len(cluster.struck()) == 2
    starts = [one["time"] for one in json_of(cluster.out / "attempts.json")["attempts"]]
    assert starts == sorted(starts, reverse=True), "the clocks were not set back"
    assert len(starts) == 3
    assert json_of(cluster.out / "lease.json")["host"].endswith("-2")
    assert_same(cluster, undisturbed(STEPS))
