import json
from pathlib import Path

import pytest
import torch

from audio_lm.training.rewards import Rewards, group_advantages, has_form_of, have_equal_rewards

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "trl_losses.json").read_text())
STAMPED = "<|0.50|>two<|0.90|>"


@pytest.mark.parametrize("scale", GOLDEN["advantages"])
def test_advantages_are_those_of_trl(scale):
    rewards = torch.tensor(GOLDEN["rewards"], dtype=torch.float64).view(-1, GOLDEN["num_answers"])
    advantages = group_advantages(rewards, scale).flatten().tolist()
    torch.testing.assert_close(advantages, GOLDEN["advantages"][scale], rtol=1e-6, atol=1e-6)


def test_groups_with_equal_rewards_are_found():
    rewards = torch.tensor([[0.5, 0.5, 0.5], [0.5, 0.5, 0.4]], dtype=torch.float64)
    assert have_equal_rewards(rewards).tolist() == [True, False]


def test_a_reward_is_the_metric_of_one_answer():
    rewards = Rewards({"acc": 2.0, "wer": 1.0})
    assert rewards.of("one two", "one two", "en") == {"acc": 1.0, "wer": 1.0}
    values = rewards.of("one three", "one two", "en")
    assert values == {"acc": 0.0, "wer": 0.5}
    assert rewards.total(values) == 0.5


def test_an_error_rate_above_one_is_no_negative_reward():
    assert Rewards({"wer": 1.0}).of("a b c d e f", "one", "en") == {"wer": 0.0}


def test_a_metric_that_is_undefined_for_an_answer_gives_no_reward():
    assert Rewards({"wer": 1.0}).of("one", "", "en") == {"wer": 0.0}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("<|0.10|>one<|0.30|>", 1.0),
        ("<|0.10|>one<|0.30|>three<|0.70|>", 1.0),
        ("<|0.30|>one<|0.10|>", 0.0),
        ("one", 0.0),
        ("", 0.0),
        ("<|0.10|><|sil|><|0.30|>", 0.0),
    ],
)
def test_the_form_of_an_answer_is_that_of_its_reference(answer, expected):
    assert has_form_of(answer, STAMPED) == expected


def test_a_number_is_another_form_than_a_word():
    assert has_form_of("7", "3") == 1.0
    assert has_form_of("seven", "3") == 0.0
