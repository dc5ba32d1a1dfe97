"""Projectors: map encoder tokens to audio tokens with the width of the language model.

A new kind is a class and a row of ``PROJECTORS``. A group of tokens never spans two clips. The last group of a
clip may be incomplete, so that every clip has at least one audio token.

Shapes: N clips, K encoder tokens, J audio tokens, E encoder width, D language model width.
Source: one layer, Qwen2-Audio, arXiv:2407.10759; two layers, LLaVA-1.5, arXiv:2310.03744; concatenated
tokens, SLAM-ASR, arXiv:2402.08846, section 3.2.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor, nn
from torch.nn import functional as F

from audio_lm.common.audio_units import Window
from audio_lm.common.transfer import to_device
from audio_lm.model.base import Projector
from audio_lm.model.config import ProjectorConfig

GELU_POWER = 0.425
"""Mean square of GELU(x) for x from the standard normal distribution."""


def projector_windows(config: ProjectorConfig) -> tuple[Window, ...]:
    """Windows by which the projector shortens a clip, for ``AudioTokenCount.then``."""
    return (Window(1, config.factor),) if config.factor > 1 else ()


def new_projector(config: ProjectorConfig, encoder_width: int, width: int, *, scale: float) -> Projector:
    """Build a projector whose audio tokens start with the standard deviation of word embeddings.

    Args:
        scale: standard deviation of the language model's word embeddings.
    """
    return PROJECTORS[config.kind](config, encoder_width, width, scale)


class LinearProjector(Projector):
    """One linear layer per token."""

    def __init__(self, encoder_width: int, width: int, *, scale: float) -> None:
        """Initialize the layer at the scale of word embeddings.

        Args:
            scale: see ``new_projector``. The encoder ends in a layer norm, so weights with standard deviation
                ``scale / sqrt(encoder_width)`` give tokens with this standard deviation.
        """
        super().__init__()
        self.linear = _linear(encoder_width, width, scale=scale)

    def forward(self, audio_KE: Tensor, counts: Sequence[int]) -> Tensor:
        """(K, E) to (K, D)."""
        projected_KD: Tensor = self.linear(audio_KE)
        return projected_KD


class GroupProjector(Projector):
    """Two layers over groups of tokens, which are averaged or concatenated."""

    def __init__(
        self,
        encoder_width: int,
        width: int,
        *,
        scale: float,
        factor: int,
        hidden_width: int,
        is_stacked: bool,
    ) -> None:
        """Start at the scale of words.

        Args:
            is_stacked: concatenate the tokens of a group, with zeros after the last; otherwise average them.
        """
        super().__init__()
        self.factor = factor
        self.is_stacked = is_stacked
        self.linear_1 = _linear(encoder_width * (factor if is_stacked else 1), hidden_width, scale=1.0)
        self.linear_2 = _linear(hidden_width, width, scale=scale / math.sqrt(GELU_POWER))

    def forward(self, audio_KE: Tensor, counts: Sequence[int]) -> Tensor:
        """(K, E) to (J, D)."""
        projected_JD: Tensor = self.linear_2(F.gelu(self.linear_1(self._groups(audio_KE, counts))))
        return projected_JD

    def _groups(self, audio_KE: Tensor, counts: Sequence[int]) -> Tensor:
        """(J, E) means, or (J, factor * E) concatenated tokens."""
        factor = self.factor
        counts_N = np.array(counts)
        num_groups = -(-counts_N // factor)
        starts = (np.cumsum(num_groups) - num_groups) * factor
        first = np.cumsum(counts_N) - counts_N
        position_K = np.repeat(starts - first, counts_N) + np.arange(counts_N.sum())
        positions = to_device(position_K, audio_KE.device)
        grouped = audio_KE.new_zeros(int(num_groups.sum()) * factor, audio_KE.shape[1])
        grouped = grouped.index_copy(0, positions, audio_KE).view(-1, factor, audio_KE.shape[1])
        if self.is_stacked:
            return grouped.flatten(1)
        is_token = np.zeros(len(grouped) * factor, dtype=np.float32)
        is_token[position_K] = 1.0
        size_J = to_device(is_token.reshape(-1, factor).sum(1), audio_KE.device).to(audio_KE.dtype)
        return grouped.sum(1) / size_J[:, None]


def _linear(num_in: int, num_out: int, *, scale: float) -> nn.Linear:
    """Linear layer whose outputs have standard deviation ``scale`` if the mean square of its inputs is 1."""
    linear = nn.Linear(num_in, num_out)
    nn.init.normal_(linear.weight, std=scale / math.sqrt(num_in))
    nn.init.zeros_(linear.bias)
    return linear


def _group_projector(config: ProjectorConfig, encoder_width: int, width: int, scale: float) -> Projector:
    return GroupProjector(
        encoder_width,
        width,
        scale=scale,
        factor=config.factor,
        hidden_width=config.width or width,
        is_stacked=config.kind == "stacked",
    )


PROJECTORS: dict[str, Callable[[ProjectorConfig, int, int, float], Projector]] = {
    "linear": lambda config, encoder_width, width, scale: LinearProjector(encoder_width, width, scale=scale),
    "pooled": _group_projector,
    "stacked": _group_projector,
}
"""Projector kind in a recipe -> function that builds it."""
