"""The Whisper audio encoder on concatenated clips, with average pooling over time.

Every audio token of a clip equals that of ``Qwen2AudioEncoder``, but the cost is that of the clip and not of
30 s: at the end of a clip, the convolutions read the frames that 30 s padding would have there. Weights have the
names of ``transformers``, so its state dicts load without renaming.

Shapes: N clips, W slot rows, M mel bins, C conv frames, K audio tokens, D width.
Source: Qwen2-Audio, arXiv:2407.10759, section 2; Whisper, arXiv:2212.04356, section 2.2.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Qwen2AudioEncoderConfig
from transformers.models.qwen2_audio.modeling_qwen2_audio import Qwen2AudioEncoderLayer

from audio_lm.common.audio_units import MAX_FRAMES, WHISPER, conv_frames_in
from audio_lm.model.base import Encoder, Layout
from audio_lm.model.decoder.packed_attention import PACKED
from audio_lm.model.encoders.layout_index import FlatIndex, LayoutIndex, index_on
from audio_lm.model.encoders.log_mel import LogMel
from audio_lm.model.encoders.packed_layout import Ints, PackedLayout, packed_layout

MAX_POSITIONS = conv_frames_in(MAX_FRAMES)
LENGTH_STEP = 128
"""Maximum lengths are rounded up to a multiple of this, so that a compiled layer gets few distinct values."""


class Positions(nn.Module):
    """Fixed sinusoidal position embeddings, one row per conv frame.

    Source: Whisper's ``sinusoids``, after arXiv:1706.03762, section 3.5.
    """

    weight: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        step = math.log(10_000) / (width // 2 - 1)
        angles = torch.arange(MAX_POSITIONS)[:, None] * torch.exp(-step * torch.arange(width // 2))
        self.register_buffer("weight", torch.cat([angles.sin(), angles.cos()], dim=1))


class AudioEncoder(Encoder):
    """Encode waveforms as audio tokens of 40 ms."""

    token_count = WHISPER

    def __init__(
        self,
        *,
        num_mels: int,
        width: int,
        num_layers: int,
        num_heads: int,
        mlp_width: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.width = width
        self.dropout = dropout
        self.log_mel = LogMel(num_mels)
        self.conv1 = nn.Conv1d(num_mels, width, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(width, width, kernel_size=3, stride=2, padding=1)
        self.embed_positions = Positions(width)
        layer = Qwen2AudioEncoderConfig(
            num_mel_bins=num_mels,
            d_model=width,
            encoder_layers=num_layers,
            encoder_attention_heads=num_heads,
            encoder_ffn_dim=mlp_width,
            dropout=dropout,
            attn_implementation=PACKED,  # type: ignore[call-arg]  # read by every configuration, listed by none
        )
        # The library annotates the settings of the whole model, and reads only those of the encoder.
        self.layers = nn.ModuleList(Qwen2AudioEncoderLayer(layer) for _ in range(num_layers))  # type: ignore[arg-type]
        self.layer_norm = nn.LayerNorm(width)
        # torch's default initialization is right for the other layers. Here it, or a fixed 0.02, would make the audio 4
        # to 20 times weaker than the position embeddings it is added to, and the model would ignore the audio for
        # hundreds of steps.
        for convolution in (self.conv1, self.conv2):
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")

    def forward(
        self,
        waves_S: Tensor,
        num_samples: tuple[int, ...],
        augment_N6: Tensor | None = None,
        layout: Layout | None = None,
    ) -> Tensor:
        """Encode clips.

        Args:
            waves_S: 16 kHz, clips concatenated.
            layout: ``layout_index.flat_index`` of the clips, on their device; None computes it.

        Returns:
            (K, D) audio tokens, clips concatenated.

        Raises:
            ValueError: a clip has fewer than 3 mel frames or is longer than 30 s.
        """
        slots = packed_layout(num_samples)
        index = index_on(slots, waves_S.device, None if layout is None else FlatIndex(*layout))
        return self.encode(self.log_mel(waves_S, slots, augment_N6, index), slots, index)

    def encode(self, mel_WM: Tensor, slots: PackedLayout, index: LayoutIndex | None = None) -> Tensor:
        """(K, D) audio tokens of spectrograms in the packed layout.

        Args:
            index: of the clips, on their device; None computes it.
        """
        index = index or index_on(slots, mel_WM.device)
        borders = index.border.to(torch.int32)
        max_length = -(-int(slots.conv_frames.max()) // LENGTH_STEP) * LENGTH_STEP

        hidden_CD = self._convolve(mel_WM.to(self.conv1.weight.dtype), index)
        hidden_CD = hidden_CD + self.embed_positions.weight[index.position]
        hidden_1CD = F.dropout(hidden_CD, self.dropout, self.training)[None]
        for layer in self.layers:
            hidden_1CD = layer(hidden_1CD, None, cu_seq_lens_q=borders, max_length_q=max_length)
        pooled_KD: Tensor = self.layer_norm(_pool(hidden_1CD[0], index, slots.conv_frames))
        return pooled_KD

    def _convolve(self, mel_WM: Tensor, index: LayoutIndex) -> Tensor:
        """(C, D) output of both convolutions, computed as matrix products over rows.

        2.5 times as fast on a CPU as ``conv1d`` with a batch of one, and no transpose is needed.
        """
        width = self.width
        around = F.pad(mel_WM, (0, 0, 1, 1))
        windows = torch.cat([around[:-2], around[1:-1], around[2:]], dim=1)
        hidden_WD = F.gelu(
            F.linear(windows, self.conv1.weight.permute(0, 2, 1).reshape(width, -1), self.conv1.bias)
        )
        # The second convolution has zero padding at the left border, not the first one's output at the empty row.
        hidden_WD = hidden_WD.index_fill(0, index.start, 0.0)
        # Output j of a slot reads its rows 2j, 2j + 1, 2j + 2. The last output of a slot would read the next clip and
        # is dropped.
        after = torch.cat([hidden_WD[2::2], hidden_WD.new_zeros(1, width)])
        windows = torch.cat([hidden_WD.view(-1, 2 * width), after], dim=1)
        windows = windows[index.window]
        return F.gelu(
            F.linear(windows, self.conv2.weight.permute(0, 2, 1).reshape(width, -1), self.conv2.bias)
        )


def _pool(hidden_CD: Tensor, index: LayoutIndex, counts: Ints) -> Tensor:
    """Means of pairs of frames; an odd last frame is a key in attention but not part of a token."""
    if (counts % 2).any():
        hidden_CD = hidden_CD[index.paired]
    return hidden_CD.view(-1, 2, hidden_CD.shape[1]).mean(1)
