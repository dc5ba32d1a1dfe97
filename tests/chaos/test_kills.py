"""Killed at random moments, a run ends as one that nobody disturbed."""

import random

import pytest

from tests.chaos.cluster import Cluster, assert_same

STAGES = ("pretrain", "chat")
KINDS = ("rank", "rank", "agent", "data worker")
SHORT = 16  # steps of a stage; in it a checkpoint and a validation fall together
LONG = 90
LATEST = 0.15  # seconds into a step


def plan_of(kills, steps, seed):
    """So many things to befall a run, none twice at the same place."""
    chance = random.Random(seed)
    places = [(stage, step, rank) for stage in STAGES for step in range(1, steps) for rank in (0, 1)]
    every = [(moment, *place) for moment in ("step", "step", "save") for place in places]
    every += [("validation", "pretrain", step, rank) for step in range(4, steps, 5) for rank in (0, 1)]
    rare = [("stage change", stage, steps - 1, rank) for stage in STAGES for rank in (0, 1)]
    rare += [("validation", "pretrain", 14, 0)]  # of the step whose checkpoint was just written
    chosen = chance.sample(rare, min(2, kills)) + chance.sample(every, max(0, kills - 2))
    return [
        {
            "kind": chance.choice(KINDS) if moment == "step" else chance.choice(KINDS[:3]),
            "moment": moment,
            "stage": stage,
            "step": step if moment != "save" else step - step % 3 + 2,
            "rank": rank,
            "delay": round(chance.uniform(0, LATEST), 3) if moment == "step" else 0,
        }
        for moment, stage, step, rank in chosen
    ]


@pytest.mark.chaos
def test_a_run_killed_at_random_ends_as_one_that_was_not(request, undisturbed, chaos_folder, record_property):
    kills, seed = request.config.getoption("--kills", 6), request.config.getoption("--seed", 0)
    steps = SHORT if kills <= 10 else LONG
    plan = plan_of(kills, steps, seed)
    with Cluster(
        chaos_folder / "killed", chaos_folder / "data", steps=steps, max_restarts=50, restarts=1000, plan=plan
    ) as cluster:
        cluster.start()
        assert cluster.wait(120 + 60 * kills, mend=True) == [0, 0], cluster.log()
    struck = cluster.struck()
    record_property("struck", [f"{one['kind']} in {one['moment']}" for one in struck])
    assert len(struck) >= 0.9 * kills, "the plan has hardly been carried out"
    assert_same(cluster, undisturbed(steps))
