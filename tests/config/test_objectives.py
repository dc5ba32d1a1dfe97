from dataclasses import replace

import pytest

from audio_lm.common.errors import RecipeError
from audio_lm.config.objectives import check_objective
from audio_lm.training.objective_config import DpoConfig, GrpoConfig

REWARDS = {"acc": 1.0}


@pytest.fixture
def stage(small):
    return replace(small.stages["chat"], spec_augment=None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dpo": DpoConfig()}, "has a table dpo and objective: next_token"),
        ({"objective": "dpo", "grpo": GrpoConfig(REWARDS)}, "has a table grpo and objective: dpo"),
        ({"objective": "grpo"}, "no table grpo"),
        ({"objective": "dpo", "prompt": "tags"}, "prompt: tags"),
        (
            {"objective": "grpo", "grpo": GrpoConfig(REWARDS, num_answers=8), "pack_tokens": 500},
            "expected room",
        ),
    ],
)
def test_settings_that_do_not_fit_the_objective_are_refused(stage, changes, message):
    with pytest.raises(RecipeError, match=message):
        check_objective("prefer", replace(stage, **changes))


def test_masked_audio_is_refused_for_pairs(small):
    with pytest.raises(RecipeError, match="spec_augment: null"):
        check_objective("prefer", replace(small.stages["chat"], objective="dpo"))


def test_objectives_with_their_tables_are_accepted(stage):
    check_objective("chat", stage)
    check_objective("prefer", replace(stage, objective="dpo", dpo=DpoConfig(loss="hinge")))
    check_objective("prefer", replace(stage, objective="dpo"))
    check_objective("reward", replace(stage, objective="grpo", grpo=GrpoConfig(REWARDS, max_new_tokens=8)))
