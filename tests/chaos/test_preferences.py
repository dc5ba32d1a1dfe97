"""A preference stage on two nodes, killed within the computation of its reference and at a random step."""

import random

import numpy as np
import pytest

from tests.chaos.cluster import RECIPE, Cluster, lines_of
from tests.chaos.comparing import assert_same

STEPS = 9
MAX_DELAY = 0.15  # seconds into a step
NUM_PAIRS = 600  # three chunks of the training rows, which two ranks share

HEAD, _ = RECIPE.split("stages:")
PREFERENCES = """
stages:
  prefer:
    prompt: chatml
    objective: dpo
    dpo: {{beta: 0.3, sft: 0.5}}
    spec_augment: null
    mixture: {{sources: {{chat: [synthetic/preferences-train]}}, weights: {{chat: 1}}}}
    validation: {{sources: {{chat: [synthetic/preferences-validation]}}, weights: {{chat: 1}}}}
    validate_every: 5
    checkpoint_every: 3
    parts:
      encoder: {{lr: null}}
      projector: {{lr: null}}
      new_tokens: {{lr: 1e-3}}
      language_model: {{lr: 1e-3}}
      language_model_lora: {{lr: null}}
    steps: {steps}
    pack_tokens: 6000
    packs_per_step: 2
"""


class PreferenceCluster(Cluster):
    recipe_text = HEAD.replace("dialogues: 24", f"preferences: {NUM_PAIRS}") + PREFERENCES


def run(folder, data, plan=()):
    with PreferenceCluster(folder, data, steps=STEPS, plan=plan) as cluster:
        cluster.start()
        assert cluster.wait(restart_nodes=True) == [0, 0], cluster.log()
    return cluster


def references_of(out):
    """Log-probabilities of every chunk under the reference, by file."""
    return {
        path.name: {name: values.tobytes() for name, values in np.load(path).items()}
        for path in sorted(out.rglob("reference/*/*.npz"))
    }


@pytest.mark.chaos
def test_a_preference_stage_killed_at_random_ends_with_the_same_output(
    request, chaos_folder, record_property
):
    chance = random.Random(request.config.getoption("--seed", 0))
    kinds = ("rank", "agent")
    plan = [
        {"kind": chance.choice(kinds), "moment": "reference", "stage": None, "step": 1, "rank": chance.choice((0, 1))},
        {"kind": chance.choice(kinds), "moment": "step", "stage": "prefer", "step": chance.randrange(1, STEPS)}
        | {"rank": chance.choice((0, 1)), "delay": round(chance.uniform(0, MAX_DELAY), 3)},
    ]  # fmt: skip
    data = chaos_folder / "preferences"
    whole = run(chaos_folder / "whole-preferences", data)
    killed = run(chaos_folder / "killed-preferences", data, plan)
    faults = [fault for fault in killed.injected() if fault["pids"]]
    record_property(
        "faults", [(fault["kind"], fault["moment"], fault["step"], fault["rank"]) for fault in faults]
    )
    assert {fault["moment"] for fault in faults} == {"reference", "step"}
    assert_same(killed, whole)
    assert references_of(killed.out) == references_of(whole.out)
    chunks = [line["chunk"] for path in killed.folder.glob("chunks-*.jsonl") for line in lines_of(path)]
    assert len(references_of(whole.out)) >= 3
    assert len(chunks) < 2 * len(set(chunks)), "every chunk was computed again after the kill"
