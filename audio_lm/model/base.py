"""What the model asks of an encoder and of a projector, whatever their kind.

Shapes: N clips, S samples, K tokens of the encoder, J audio tokens, E and D the widths before and after.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from audio_lm.common.audio_units import AudioTokenCount


class Encoder(nn.Module):
    """Waveforms to tokens; a clip is heard the same in any company."""

    width: int
    """E, of its tokens, which leave it with about unit power."""

    token_count: AudioTokenCount
    """How many tokens a clip makes."""

    def forward(
        self, waves_S: Tensor, num_samples: tuple[int, ...], augment_N6: Tensor | None = None
    ) -> Tensor:
        """(K, E) tokens of clips that stand end to end, 16 kHz."""
        raise NotImplementedError


class Projector(nn.Module):
    """Tokens of the encoder to what the language model reads in the places of audio."""

    def forward(self, audio_KE: Tensor, counts: Sequence[int]) -> Tensor:
        """(J, D) audio tokens, from so many tokens of each clip."""
        raise NotImplementedError
