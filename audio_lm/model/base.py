"""Interfaces of encoders and projectors of every kind.

Shapes: N clips, S samples, K encoder tokens, J audio tokens, E encoder width, D language model width.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from audio_lm.common.audio_units import AudioTokenCount

Layout = tuple[Tensor, tuple[int, ...]]
"""Integers that the collator has computed of the clips for an encoder, on the device of the clips, and their sizes."""


class Encoder(nn.Module):
    """Encode waveforms as tokens; the tokens of a clip do not depend on the other clips of the batch."""

    width: int
    """E, the width of the tokens; their mean square is about 1."""

    token_count: AudioTokenCount
    """Number of tokens of a clip."""

    def forward(
        self,
        waves_S: Tensor,
        num_samples: tuple[int, ...],
        augment_N6: Tensor | None = None,
        layout: Layout | None = None,
    ) -> Tensor:
        """(K, E) tokens of 16 kHz clips, which are concatenated in ``waves_S``."""
        raise NotImplementedError


class Projector(nn.Module):
    """Map encoder tokens to audio tokens, the embeddings that the language model reads at audio positions."""

    def forward(self, audio_KE: Tensor, counts: Sequence[int]) -> Tensor:
        """(J, D) audio tokens.

        Args:
            counts: number of encoder tokens of each clip; they sum to K.
        """
        raise NotImplementedError
