"""From the encoder's tokens to what the language model reads in the places of audio.

A new kind is a class and a row of ``PROJECTORS``. Groups of tokens never straddle two clips; what is
left over at the end of a clip is a group of its own, so that every clip keeps at least one.

Shapes: N clips, K tokens of the encoder, J audio tokens, E the encoder's width, D the language model's.
Source: one layer, Qwen2-Audio, arXiv:2407.10759; two layers, LLaVA-1.5, arXiv:2310.03744; tokens side
by side, SLAM-ASR, arXiv:2402.08846, section 3.2.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audio_lm.common.audio_units import Window
from audio_lm.model.base import Projector
from audio_lm.model.config import ProjectorConfig

GELU_POWER = 0.425
"""Mean square of GELU of a standard normal."""


def projector_windows(config: ProjectorConfig) -> tuple[Window, ...]:
    """How many audio tokens a clip has left."""
    return (Window(1, config.factor),) if config.factor > 1 else ()


def new_projector(config: ProjectorConfig, encoder_width: int, width: int, *, scale: float) -> Projector:
    """A projector whose tokens start at the scale of words.

    Args:
        scale: standard deviation of the language model's word embeddings.
    """
    return PROJECTORS[config.kind](config, encoder_width, width, scale)


class LinearProjector(Projector):
    """One linear layer; audio tokens leave it looking like words."""

    def __init__(self, encoder_width: int, width: int, *, scale: float) -> None:
        """Start at the scale of words.

        Args:
            scale: see ``new_projector``. The encoder ends in a layer norm, so rows of this over the root of
                its width give just that.
        """
        super().__init__()
        self.linear = _linear(encoder_width, width, scale=scale)

    def forward(self, audio_KE: Tensor, counts: Sequence[int]) -> Tensor:
        """(K, encoder width) to (K, width)."""
        projected_KD: Tensor = self.linear(audio_KE)
        return projected_KD


class GroupProjector(Projector):
    """Two layers over groups of tokens, made one by one of two ways."""

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
            is_stacked: tokens of a group stand side by side, zeros after the last; else their mean is taken.
        """
        super().__init__()
        self.factor = factor
        self.is_stacked = is_stacked
        self.linear_1 = _linear(encoder_width * (factor if is_stacked else 1), hidden_width, scale=1.0)
        self.linear_2 = _linear(hidden_width, width, scale=scale / math.sqrt(GELU_POWER))

    def forward(self, audio_KE: Tensor, counts: Sequence[int]) -> Tensor:
        """(K, encoder width) to (J, width)."""
        projected_JD: Tensor = self.linear_2(F.gelu(self.linear_1(self._groups(audio_KE, counts))))
        return projected_JD

    def _groups(self, audio_KE: Tensor, counts: Sequence[int]) -> Tensor:
        """(J, E), or (J, factor times E) where they are stacked."""
        factor = self.factor
        of_clip = np.array(counts)
        num_groups = -(-of_clip // factor)
        starts = (np.cumsum(num_groups) - num_groups) * factor
        first = np.cumsum(of_clip) - of_clip
        place_K = np.repeat(starts - first, of_clip) + np.arange(of_clip.sum())
        places = torch.from_numpy(place_K).to(audio_KE.device)
        laid_out = audio_KE.new_zeros(int(num_groups.sum()) * factor, audio_KE.shape[1])
        laid_out = laid_out.index_copy(0, places, audio_KE).view(-1, factor, audio_KE.shape[1])
        if self.is_stacked:
            return laid_out.flatten(1)
        is_there = np.zeros(len(laid_out) * factor, dtype=np.float32)
        is_there[place_K] = 1.0
        present_J = torch.from_numpy(is_there.reshape(-1, factor).sum(1)).to(audio_KE.device, audio_KE.dtype)
        return laid_out.sum(1) / present_J[:, None]


def _linear(num_in: int, num_out: int, *, scale: float) -> nn.Linear:
    """A layer that gives inputs of unit power this standard deviation."""
    linear = nn.Linear(num_in, num_out)
    nn.init.normal_(linear.weight, std=scale / math.sqrt(num_in))
    nn.init.zeros_(linear.bias)
    return linear


def _in_groups(config: ProjectorConfig, encoder_width: int, width: int, scale: float) -> Projector:
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
    "pooled": _in_groups,
    "stacked": _in_groups,
}
"""Kind in a recipe -> how it is built."""
