"""Losses of preference pairs, as functions of the log-probabilities of both answers.

Shapes: Q pairs.
Source: trl 1.16, ``trl/trainer/dpo_trainer.py``; the papers are named in ``training.objective_config``.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from audio_lm.training.objective_config import DpoConfig


class AnswerScores(NamedTuple):
    """Answers of one kind, chosen or rejected, of all pairs."""

    logp: Tensor
    """Sum of the log-probabilities of the tokens."""

    reference: Tensor
    """The same under the reference."""

    num_tokens: Tensor
    """Number of tokens, at least 1."""

    @property
    def log_ratio(self) -> Tensor:
        """Log-ratio of the answer to the reference; times beta it is the implicit reward."""
        return self.logp - self.reference


def preference_losses(config: DpoConfig, chosen: AnswerScores, rejected: AnswerScores) -> Tensor:
    """(Q,) loss of each pair, differentiable by the log-probabilities."""
    beta = config.beta
    chosen_Q, rejected_Q = chosen.log_ratio, rejected.log_ratio
    if config.length_normalised or config.loss == "ipo":
        chosen_Q, rejected_Q = chosen_Q / chosen.num_tokens, rejected_Q / rejected.num_tokens
    delta_Q = chosen_Q - rejected_Q
    match config.loss:
        case "sigmoid":
            losses_Q = -logsigmoid(beta * delta_Q)
        case "robust":
            share = config.label_smoothing
            right_Q, swapped_Q = -logsigmoid(beta * delta_Q), -logsigmoid(-beta * delta_Q)
            losses_Q = ((1 - share) * right_Q - share * swapped_Q) / (1 - 2 * share)
        case "hinge":
            losses_Q = torch.relu(1 - beta * delta_Q)
        case "ipo":
            losses_Q = (delta_Q - 1 / (2 * beta)) ** 2
        case "apo_zero":
            losses_Q = 1 - torch.sigmoid(beta * chosen_Q) + torch.sigmoid(beta * rejected_Q)
    if config.sft:
        losses_Q = losses_Q - config.sft * chosen.logp / chosen.num_tokens
    return losses_Q
