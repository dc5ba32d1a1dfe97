"""A run killed at random moments ends with the same output as a run without faults."""

import random
from collections import Counter

import pytest

from tests.chaos.cluster import Cluster
from tests.chaos.comparing import assert_same

STAGES = ("pretrain", "chat", "tune")  # the encoder learns, the language model, its LoRA
KINDS = ("rank", "rank", "agent", "data worker")
SHORT = 16  # steps of a stage; in it a checkpoint and a validation fall together
LONG = 90
EVERY = 3  # steps between checkpoints
MAX_DELAY = 0.15  # seconds into a step
START_SECONDS = 9.0  # from the start of a process to its first step, about


def plan_of(kills, steps, seed):
    """Random faults for a run, at most one at each place."""
    chance = random.Random(seed)
    seams = [("stage change", stage, steps - 1, rank) for stage in STAGES for rank in (0, 1)]
    seams += [("weights", stage, "last", rank) for stage in STAGES for rank in (0, 1)]
    seams += [("validation", "pretrain", 14, 0)]  # step 14 has a checkpoint too
    chosen = [("evaluation", None, None, 0), ("step", "chat", 1, 0)]  # after the run was reopened
    chosen += chance.sample(seams, min(max(1, kills // 10), kills, len(seams)))
    chosen += chance.sample(places_within_stages(steps), kills - len(chosen))
    events = [event_of(chance, *place) for place in chosen]
    for number, event in enumerate(events):
        if event["moment"] == "start":
            event["after"] = chance.choice([other for other in range(kills) if other != number])
    return events


def places_within_stages(steps):
    """Places within the stages; frequent moments are listed more often."""
    places = [(stage, step, rank) for stage in STAGES for step in range(1, steps) for rank in (0, 1)]
    saved = [place for place in places if (place[1] + 1) % EVERY == 0]
    first = [place for place in saved if place[2] == 0]  # the first rank renames
    every = [(moment, *place) for moment in ("step", "step") for place in places]
    every += [("save", *place) for place in saved * 2] + [
        (moment, *place) for moment in ("rename", "renamed") for place in first
    ]
    every += [("validation", "pretrain", step, rank) for step in range(4, steps, 5) for rank in (0, 1)]
    return every + [("start", None, None, rank) for rank in (0, 1)] * (steps // 8)


def event_of(chance, moment, stage, step, rank):
    kinds = {"step": KINDS, "start": KINDS[:1]}.get(moment, KINDS[:3])
    max_delay = {"step": MAX_DELAY, "start": START_SECONDS}.get(moment, 0)
    delay = round(chance.uniform(0, max_delay), 3)
    return {"kind": chance.choice(kinds), "moment": moment, "stage": stage, "step": step} | {
        "rank": rank,
        "delay": delay,
    }


@pytest.mark.chaos
def test_a_run_killed_at_random_ends_with_the_same_output(
    request, undisturbed, chaos_folder, record_property
):
    kills, seed = request.config.getoption("--kills", 6), request.config.getoption("--seed", 0)
    steps = SHORT if kills <= 10 else LONG
    plan = plan_of(kills, steps, seed)
    with Cluster(
        chaos_folder / "killed", chaos_folder / "data", steps=steps, max_restarts=50, restarts=1000, plan=plan
    ) as cluster:
        cluster.start()
        assert cluster.wait(120 + 60 * kills, restart_nodes=True) == [0, 0], cluster.log()
    faults = [fault for fault in cluster.injected() if fault["pids"]]
    record_property("faults", dict(Counter(f"{fault['kind']} in {fault['moment']}" for fault in faults)))
    assert len(faults) >= 0.9 * kills, "too few faults of the plan were injected"
    assert_same(cluster, undisturbed(steps))
