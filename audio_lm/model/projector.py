"""From the encoder's width to the language model's.

Source: Qwen2-Audio, arXiv:2407.10759; ``multi_modal_projector`` in the released weights.
"""

import math

from torch import Tensor, nn


class Projector(nn.Module):
    """One linear layer; audio tokens leave it looking like words."""

    def __init__(self, encoder_width: int, width: int, *, scale: float) -> None:
        """Start at the scale of words.

        Args:
            scale: standard deviation of the language model's word embeddings. The encoder ends in a layer
                norm, so rows of this over the root of its width give just that.
        """
        super().__init__()
        self.linear = nn.Linear(encoder_width, width)
        nn.init.normal_(self.linear.weight, std=scale / math.sqrt(encoder_width))
        nn.init.zeros_(self.linear.bias)

    def forward(self, audio_KE: Tensor) -> Tensor:
        """(K, encoder width) to (K, width)."""
        projected_KD: Tensor = self.linear(audio_KE)
        return projected_KD
