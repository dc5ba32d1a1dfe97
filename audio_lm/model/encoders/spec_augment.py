"""SpecAugment: mask and warp log-mel spectrograms.

The data pipeline draws the random numbers; here they are only applied, to all clips of a pack at once.

Shapes: N clips, W slot rows, M mel bins.
Source: SpecAugment, arXiv:1904.08779, section 2. The warp is the piecewise linear form of later
toolkits (ESPnet, lhotse), not the paper's thin-plate spline.
"""

import torch
from torch import Tensor

from audio_lm.model.encoders.layout_index import LayoutIndex, index_on
from audio_lm.model.encoders.packed_layout import PackedLayout


def apply_spec_augment(
    mel_WM: Tensor, slots: PackedLayout, augment_N6: Tensor, index: LayoutIndex | None = None
) -> Tensor:
    """Warp and mask the frames of the clips; other rows do not change.

    Args:
        augment_N6: int64 warp_from, warp_to, band_start, band_width, time_start, time_width of each clip, in
            frames and mel bins. A width of 0 masks nothing; equal warp points do not warp.
        index: of the clips, on their device; None computes it.

    Returns:
        (W, M), a new tensor; masked cells have the mean of the clip.

    Raises:
        ValueError: ``augment_N6`` does not have one row of 6 per clip.
    """
    if augment_N6.shape != (len(slots.num_rows), 6):
        raise ValueError(
            f"augment has shape {tuple(augment_N6.shape)}; expected one row of 6 for each clip of the pack"
        )
    device = mel_WM.device
    index = index or index_on(slots, device)
    clip_W, frame_W, num_frames_N, first_N = (
        index.clip_of_row,
        index.frame_of_row,
        index.num_frames,
        index.start + 1,
    )
    is_clip_W = (frame_W >= 0) & (frame_W < num_frames_N[clip_W])

    warp_from, warp_to, band, band_width, time, time_width = augment_N6[clip_W].unbind(1)
    source_W = _source_frame(frame_W.clamp(min=0), warp_from, warp_to, num_frames_N[clip_W] - 1)
    mel_WM = torch.where(is_clip_W[:, None], _interpolate(mel_WM, first_N[clip_W], source_W), mel_WM)

    sums_N = mel_WM.new_zeros(len(slots.num_rows)).index_add_(0, clip_W, mel_WM.mean(1) * is_clip_W)
    means_W1 = (sums_N / num_frames_N)[clip_W, None]
    bins = torch.arange(mel_WM.shape[1], device=device)
    in_band_WM = (bins >= band[:, None]) & (bins < (band + band_width)[:, None])
    in_time_W = (frame_W >= time) & (frame_W < time + time_width)
    return torch.where((in_band_WM | in_time_W[:, None]) & is_clip_W[:, None], means_W1, mel_WM)


def _source_frame(frame: Tensor, warp_from: Tensor, warp_to: Tensor, last: Tensor) -> Tensor:
    """Source position of each frame after a piecewise linear warp; the first and last frame do not move."""
    # Products of frame numbers are below 2 ** 24 and exact in float32: equal warp points give exactly the identity.
    before = (frame * warp_from) / warp_to.clamp(min=1)
    after = warp_from + ((frame - warp_to) * (last - warp_from)) / (last - warp_to).clamp(min=1)
    return torch.minimum(torch.where(frame <= warp_to, before, after).clamp(min=0.0), last)


def _interpolate(mel_WM: Tensor, first_W: Tensor, source_W: Tensor) -> Tensor:
    """Interpolate linearly between the two frames around each source position."""
    low_W = source_W.floor()
    fraction_W1 = (source_W - low_W)[:, None]
    low_WM = mel_WM[first_W + low_W.long()]
    return low_WM + fraction_W1.to(mel_WM.dtype) * (mel_WM[first_W + source_W.ceil().long()] - low_WM)
