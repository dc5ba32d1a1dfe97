"""Choice of the next token: the most probable one, or a draw with temperature, top-k and top-p.

A draw depends on its logits, the seed, the key of its conversation and its place in the answer alone, so an answer is the
same in any batch. One uniform number is compared with the cumulative probabilities in the order of token ids: a rounding
error of the logits changes the token only if the number lies within that error of a border.

Shapes: B rows, V tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from audio_lm.common.errors import RecipeError
from audio_lm.common.rng import random_for

SampleKey = tuple[str | int, ...]
"""Purpose of a draw besides the seed: conversation, number of the answer, number of the token."""


@dataclass(frozen=True)
class SamplingConfig:
    """Choice of the next token."""

    temperature: float = 0.0
    """Divisor of the logits; 0 takes the most probable token."""

    top_k: int | None = None
    """Number of the most probable tokens to draw from; null for all."""

    top_p: float = 1.0
    """Probability of the tokens to draw from: the fewest that have it together."""

    seed: int = 0
    """Seed of the draws."""

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= 100:
            raise RecipeError(f"temperature {self.temperature} -- expected 0 (greedy) to 100; change it")
        if self.top_k is not None and self.top_k < 1:
            raise RecipeError(
                f"top_k {self.top_k} -- expected at least 1; leave it out to draw from all tokens"
            )
        if not 0 < self.top_p <= 1:
            raise RecipeError(
                f"top_p {self.top_p} -- expected more than 0 and at most 1; 1 draws from all tokens"
            )

    @property
    def is_greedy(self) -> bool:
        """True if the most probable token is taken."""
        return self.temperature == 0


GREEDY = SamplingConfig()


def choose_tokens(logits_BV: Tensor, config: SamplingConfig, keys: Sequence[SampleKey]) -> Tensor:
    """(B,) next token of every row.

    Args:
        keys: of every row; not used by greedy decoding.
    """
    if config.is_greedy:
        return logits_BV.argmax(-1)
    cumulative_BV = probabilities(logits_BV, config).cumsum(-1)
    draws = [random_for(config.seed, "token", *key).random() for key in keys]
    draws_B1 = torch.tensor(draws, dtype=torch.float64, device=logits_BV.device)[:, None]
    # Scaled by the total, so that rounding leaves no draw beyond the last token.
    tokens_B1 = torch.searchsorted(cumulative_BV, draws_B1 * cumulative_BV[:, -1:], right=True)
    return tokens_B1[:, 0].clamp(max=logits_BV.shape[-1] - 1)


def probabilities(logits_BV: Tensor, config: SamplingConfig) -> Tensor:
    """(B, V) probabilities to draw from, in 64 bits; those of tokens outside top-k and top-p are 0.

    The order is that of ``transformers``: temperature, top-k, top-p.
    """
    scaled_BV = logits_BV.double() / config.temperature
    if config.top_k is not None:
        lowest_B1 = scaled_BV.topk(min(config.top_k, scaled_BV.shape[-1]), dim=-1).values[:, -1:]
        scaled_BV = scaled_BV.masked_fill(scaled_BV < lowest_B1, -torch.inf)
    probs_BV = scaled_BV.softmax(-1)
    if config.top_p < 1:
        ordered_BV, index_BV = probs_BV.sort(dim=-1, descending=True, stable=True)
        is_outside_BV = ordered_BV.cumsum(-1) - ordered_BV >= config.top_p
        probs_BV = probs_BV.masked_fill(is_outside_BV.scatter(-1, index_BV, is_outside_BV), 0.0)
    return probs_BV
