"""Holes and warps in log-mels, applied as drawn.

The numbers are drawn where the data is made; here they only act, on all clips at once.

Shapes: N clips, W slot rows, M mel bins.
Source: SpecAugment, arXiv:1904.08779, section 2. The warp is the piecewise linear form of later
toolkits (ESPnet, lhotse), not the paper's thin-plate spline.
"""

import torch
from torch import Tensor

from audio_lm.model.encoders.packed_layout import PackedLayout


def augmented(mel_WM: Tensor, slots: PackedLayout, augment_N6: Tensor) -> Tensor:
    """Move and hide frames that hold a clip; nothing else changes.

    Args:
        augment_N6: int64 warp_from, warp_to, band_start, band_width, time_start, time_width of each
            clip, in frames and mel bins. Widths of 0 hide nothing; equal warp points move nothing.

    Returns:
        (W, M), new; hidden cells hold the clip's mean.

    Raises:
        ValueError: there is not one row per clip.
    """
    if augment_N6.shape != (len(slots.num_rows), 6):
        raise ValueError(
            f"augment has shape {tuple(augment_N6.shape)}; expected one row of 6 for each clip of the pack"
        )
    device = mel_WM.device
    clip_W = torch.from_numpy(slots.clip_of_row()).to(device)
    frame_W = torch.from_numpy(slots.frame_of_row()).to(device)
    num_frames_N = torch.from_numpy(slots.num_frames).to(device)
    first_N = torch.from_numpy(slots.starts + 1).to(device)
    is_clip_W = (frame_W >= 0) & (frame_W < num_frames_N[clip_W])

    warp_from, warp_to, band, band_width, time, time_width = augment_N6[clip_W].unbind(1)
    source_W = _warped(frame_W.clamp(min=0), warp_from, warp_to, num_frames_N[clip_W] - 1)
    mel_WM = torch.where(is_clip_W[:, None], _between(mel_WM, first_N[clip_W], source_W), mel_WM)

    sums_N = mel_WM.new_zeros(len(slots.num_rows)).index_add_(0, clip_W, mel_WM.mean(1) * is_clip_W)
    means_W1 = (sums_N / num_frames_N)[clip_W, None]
    bins = torch.arange(mel_WM.shape[1], device=device)
    in_band_WM = (bins >= band[:, None]) & (bins < (band + band_width)[:, None])
    in_time_W = (frame_W >= time) & (frame_W < time + time_width)
    return torch.where((in_band_WM | in_time_W[:, None]) & is_clip_W[:, None], means_W1, mel_WM)


def _warped(frame: Tensor, warp_from: Tensor, warp_to: Tensor, last: Tensor) -> Tensor:
    """Which frame each frame is read from; both ends stay where they are."""
    # Products of frame numbers stay under 2 ** 24, so that no warp is exactly no warp.
    before = (frame * warp_from) / warp_to.clamp(min=1)
    after = warp_from + ((frame - warp_to) * (last - warp_from)) / (last - warp_to).clamp(min=1)
    return torch.minimum(torch.where(frame <= warp_to, before, after).clamp(min=0.0), last)


def _between(mel_WM: Tensor, first_W: Tensor, source_W: Tensor) -> Tensor:
    low_W = source_W.floor()
    share_W = (source_W - low_W)[:, None]
    low_WM = mel_WM[first_W + low_W.long()]
    return low_WM + share_W.to(mel_WM.dtype) * (mel_WM[first_W + source_W.ceil().long()] - low_WM)
