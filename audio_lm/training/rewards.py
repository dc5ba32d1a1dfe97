"""Rewards of sampled answers from metrics, and the advantages of the answers to one question.

Shapes: Q questions, G answers to each.
Source: trl 1.16, ``trl/trainer/grpo_trainer.py``; arXiv:2402.03300, section 4.1.2.
"""

import re
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from audio_lm.common.errors import DataError
from audio_lm.metrics.registry import find_metric
from audio_lm.training.objective_config import FORMAT

STD_EPSILON = 1e-4  # of trl
PIECE = re.compile(r"<\|(?P<stamp>\d+\.\d+)\|>|<\|[^|]*\|>|(?P<number>\d+(?:\.\d+)?)|\w+")


class Rewards:
    """Weighted sum of rewards, each between 0 and 1.

    Args:
        weights: reward -> weight; a metric of one answer, or ``format``.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        self.weights = dict(weights)
        self.metrics = {
            name: (row.build(sync_on_compute=False), row.is_higher_better)
            for name in weights
            if name != FORMAT
            for row in [find_metric(name)]
        }

    def of(self, answer: str, reference: str, language: str) -> dict[str, float]:
        """Value of each reward, without weights.

        Args:
            answer: raw text, markup included.
        """
        return {
            name: has_form_of(answer, reference)
            if name == FORMAT
            else self._of_metric(name, answer, reference, language)
            for name in self.weights
        }

    def total(self, values: Mapping[str, float]) -> float:
        """Weighted sum of the values of ``of``."""
        return sum(weight * values[name] for name, weight in self.weights.items())

    def _of_metric(self, name: str, answer: str, reference: str, language: str) -> float:
        metric, is_higher_better = self.metrics[name]
        metric.reset()
        try:
            metric.update([answer], [reference], [language])
            value = float(metric.compute())
        except DataError:  # the metric is undefined for this answer
            return 0.0
        return min(1.0, max(0.0, value if is_higher_better else 1 - value))


def has_form_of(answer: str, reference: str) -> float:
    """Return 1 if an answer has the kinds of pieces of the reference, in order of their first one, and ascending stamps.

    >>> has_form_of("<|0.10|>one<|0.30|>", "<|0.50|>two<|0.90|>"), has_form_of("<|0.90|>one<|0.30|>", "<|0.50|>two<|0.90|>")
    (1.0, 0.0)
    """
    pieces, expected = list(PIECE.finditer(answer)), list(PIECE.finditer(reference))
    stamps = [float(piece["stamp"]) for piece in pieces if piece["stamp"] is not None]
    return float(_kinds(pieces) == _kinds(expected) and stamps == sorted(stamps))


def _kinds(pieces: list[re.Match[str]]) -> list[str]:
    kinds = (piece.lastgroup or ("word" if piece[0][0] != "<" else piece[0]) for piece in pieces)
    return list(dict.fromkeys(kinds))


def group_advantages(rewards_QG: Tensor, scale: Literal["group", "none"]) -> Tensor:
    """(Q, G) advantages of answers over the other answers to the same question."""
    centred_QG = rewards_QG - rewards_QG.mean(1, keepdim=True)
    if scale == "none":
        return centred_QG
    return centred_QG / (rewards_QG.std(1, keepdim=True) + STD_EPSILON)


def have_equal_rewards(rewards_QG: Tensor) -> Tensor:
    """(Q,) true for questions whose answers have equal rewards, and so nothing to learn from."""
    return torch.isclose(rewards_QG.std(1), rewards_QG.new_zeros(()))
