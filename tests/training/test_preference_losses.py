"""Losses of pairs against those of trl 1.16; see ``tests/golden/trl_losses.py``."""

import json
from pathlib import Path

import pytest
import torch

from audio_lm.training.objective_config import DpoConfig
from audio_lm.training.preference_losses import AnswerScores, preference_losses

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "trl_losses.json").read_text())


def scores(kind):
    answers = [pair[kind] for pair in GOLDEN["pairs"]]
    return AnswerScores(
        torch.tensor([sum(tokens) for tokens, _ in answers], dtype=torch.float64),
        torch.tensor([reference for _, reference in answers], dtype=torch.float64),
        torch.tensor([len(tokens) for tokens, _ in answers], dtype=torch.float64),
    )


def config_of(case):
    settings = {key: value for key, value in case.items() if key != "values"}
    is_normalised = settings["loss"] == "sigmoid_norm"
    return DpoConfig(
        **settings | ({"loss": "sigmoid"} if is_normalised else {}), length_normalised=is_normalised
    )


@pytest.mark.parametrize("case", GOLDEN["losses"], ids=lambda case: f"{case['loss']}-{case['beta']}")
def test_losses_are_those_of_trl(case):
    losses = preference_losses(config_of(case), scores(0), scores(1))
    torch.testing.assert_close(losses.tolist(), case["values"], rtol=1e-9, atol=1e-9)


def test_the_golden_numbers_have_all_losses_of_the_configuration():
    assert {case["loss"] for case in GOLDEN["losses"]} == {
        *("sigmoid", "robust", "hinge", "ipo", "apo_zero", "sigmoid_norm")
    }


def test_the_sft_term_is_the_mean_cross_entropy_of_the_chosen_tokens():
    plain, with_sft = (preference_losses(DpoConfig(sft=sft), scores(0), scores(1)) for sft in (0.0, 0.5))
    means = [-sum(tokens) / len(tokens) for (tokens, _), _ in GOLDEN["pairs"]]
    torch.testing.assert_close((with_sft - plain).tolist(), [0.5 * mean for mean in means])


def test_a_better_chosen_answer_lowers_every_loss():
    for case in GOLDEN["losses"]:
        chosen = scores(0)
        logp = chosen.logp.clone().requires_grad_()
        losses = preference_losses(config_of(case), chosen._replace(logp=logp), scores(1))
        (gradient,) = torch.autograd.grad(losses.sum(), logp)
        # IPO has an aim, beyond which it pulls back.
        assert (gradient <= 0).all() or case["loss"] == "ipo", case["loss"]
