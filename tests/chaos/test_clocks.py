"""Clocks that are set back and host names that change: order follows from steps and generations."""

import pytest

from tests.chaos.cluster import Cluster, json_of
from tests.chaos.comparing import assert_same

STEPS = 16


@pytest.mark.chaos
def test_clocks_set_back_and_new_host_names_at_every_start_change_nothing(undisturbed, chaos_folder):
    plan = [
        {"kind": "rank", "moment": "step", "stage": "pretrain", "step": 8, "rank": 0},
        {"kind": "rank", "moment": "save", "stage": "chat", "step": 8, "rank": 1},
    ]
    with Cluster(chaos_folder / "clocks", chaos_folder / "data", steps=STEPS, plan=plan) as cluster:
        cluster.environment["CHAOS_CLOCK"] = "set back at every start"
        cluster.start()
        assert cluster.wait() == [0, 0], cluster.log()
    assert len(cluster.injected()) == 2
    starts = [attempt["time"] for attempt in json_of(cluster.out / "attempts.json")["attempts"]]
    assert starts == sorted(starts, reverse=True), "the clocks were not set back"
    assert len(starts) == 3
    assert json_of(cluster.out / "lease.json")["host"].endswith("-2")
    assert_same(cluster, undisturbed(STEPS))
