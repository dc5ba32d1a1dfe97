"""Log-mel spectrograms of concatenated clips, equal to Whisper's.

One STFT computes all clips of a pack: each clip gets a reflected left border and trailing first_N, and frames that
span two clips are dropped. No clip is padded to 30 s, but every frame equals that of a clip padded to 30 s.

Shapes: S samples and N clips of a pack, R hops of all padded clips, M mel bins, W slot rows.
Source: Whisper's ``audio.py`` (arXiv:2212.04356, section 2.2); ``WhisperFeatureExtractor``.
"""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from audio_lm.common import compat
from audio_lm.common.audio_units import SAMPLES_PER_FRAME, SAMPLES_PER_SECOND
from audio_lm.model.encoders.layout_index import BORDER, WINDOW, LayoutIndex, index_on
from audio_lm.model.encoders.packed_layout import PackedLayout
from audio_lm.model.encoders.spec_augment import apply_spec_augment

LOWEST = 1e-10  # minimum power before the logarithm
DYNAMIC_RANGE = 8.0  # decades below the loudest cell of a clip

# Slaney's scale: linear up to 1 kHz, then logarithmic.
# Source: Slaney, Auditory Toolbox (1998), as in librosa.filters.mel.
LINEAR_HERTZ_PER_MEL = 200.0 / 3.0
BREAK_HERTZ = 1000.0
BREAK_MEL = BREAK_HERTZ / LINEAR_HERTZ_PER_MEL
LOG_STEP = np.log(6.4) / 27.0


class LogMel(nn.Module):
    """Compute log-mel spectrograms in the packed layout of the encoder."""

    def __init__(self, num_mels: int) -> None:
        super().__init__()
        self.num_mels = num_mels

    @torch.no_grad()
    def forward(
        self,
        waves_S: Tensor,
        slots: PackedLayout,
        augment_N6: Tensor | None = None,
        index: LayoutIndex | None = None,
    ) -> Tensor:
        """Spectrograms of a pack's clips.

        Args:
            waves_S: 16 kHz, clips concatenated.
            augment_N6: masks and warps, see ``spec_augment``.
            index: of the clips, on their device; None computes it.

        Returns:
            (W, M) concatenated slots; empty rows are zero.
        """
        # No autocast: bf16 has 8 significant bits, too few for a spectrogram.
        with torch.autocast(waves_S.device.type, enabled=False):
            index = index or index_on(slots, waves_S.device)
            log_mel_WM = self._log_mel(waves_S, slots, index)
        return log_mel_WM if augment_N6 is None else apply_spec_augment(log_mel_WM, slots, augment_N6, index)

    def _log_mel(self, waves_S: Tensor, slots: PackedLayout, index: LayoutIndex) -> Tensor:
        device = waves_S.device
        window, filters = _constants(self.num_mels, device, waves_S.dtype)
        spectrum = torch.stft(
            _padded_clips(waves_S, slots, index),
            WINDOW,
            SAMPLES_PER_FRAME,
            window=window,
            center=False,
            return_complex=True,
        )
        power = torch.view_as_real(spectrum.transpose(0, 1)).square().sum(-1)
        log_RM = (power @ filters).clamp(min=LOWEST).log10()

        loudest_N = log_RM.new_full((len(slots.num_samples),), -torch.inf)
        loudest_N = loudest_N.scatter_reduce(0, index.clip_of_used, log_RM.amax(1)[index.used_hop], "amax")
        floor_W1 = (loudest_N - DYNAMIC_RANGE)[index.clip_of_row, None]
        mel_WM = (torch.maximum(log_RM[index.hop_of_row], floor_W1) + 4.0) / 4.0
        return mel_WM.index_fill(0, index.empty_row, 0.0)


def mel_filters(num_mels: int) -> Tensor:
    """Triangular filters of equal area on Slaney's mel scale, 0 to 8 kHz, in double precision.

    Returns:
        (201, num_mels) weights of the power spectrum.

    Source: ``librosa.filters.mel(sr=16000, n_fft=400)``, which made the filters Whisper ships.
    """
    bins = np.linspace(0.0, SAMPLES_PER_SECOND / 2, WINDOW // 2 + 1)
    corners = _hertz(np.linspace(0.0, _mel(SAMPLES_PER_SECOND / 2), num_mels + 2))
    slopes = corners[None, :] - bins[:, None]
    widths = np.diff(corners)
    triangles = np.maximum(0.0, np.minimum(-slopes[:, :-2] / widths[:-1], slopes[:, 2:] / widths[1:]))
    return torch.from_numpy(triangles * (2.0 / (corners[2:] - corners[:-2])))


def _padded_clips(waves_S: Tensor, slots: PackedLayout, index: LayoutIndex) -> Tensor:
    """Concatenate clips, each with 200 reflected samples before it and zeros after it, two hops more than its rows."""
    hops_N = slots.num_rows + 2
    # Two hops more, so that the window of the last frame is complete.
    padded = waves_S.new_zeros((int(hops_N.sum()) + 2) * SAMPLES_PER_FRAME)
    chunks: list[int] = []
    for hops, count in zip(hops_N.tolist(), slots.num_samples.tolist(), strict=True):
        chunks += [BORDER, count, hops * SAMPLES_PER_FRAME - BORDER - count]
    chunks[-1] += 2 * SAMPLES_PER_FRAME
    compat.foreach_copy(padded.split(chunks)[1::3], waves_S.split(slots.num_samples.tolist()))
    padded[index.mirror_to] = padded[index.mirror_from]
    return padded


@lru_cache(maxsize=8)
def _constants(num_mels: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    # Not buffers: casting the model to bf16 would cast them too.
    return torch.hann_window(WINDOW, device=device, dtype=dtype), mel_filters(num_mels).to(device, dtype)


def _mel(hertz: float) -> float:
    return float(BREAK_MEL + np.log(hertz / BREAK_HERTZ) / LOG_STEP)


def _hertz(mel: np.ndarray) -> np.ndarray:
    return np.where(
        mel < BREAK_MEL, mel * LINEAR_HERTZ_PER_MEL, BREAK_HERTZ * np.exp(LOG_STEP * (mel - BREAK_MEL))
    )
