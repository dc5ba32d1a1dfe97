"""Indices that place the clips of a pack in the packed encoder, in one tensor that a data worker computes.

A training step computes none of them: each would be built on the host and copied while the GPU waits.

Shapes: N clips, R hops of all padded clips, W slot rows, C conv frames of all clips.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from audio_lm.common.audio_units import MAX_FRAMES, MAX_SAMPLES, SAMPLES_PER_FRAME
from audio_lm.common.transfer import to_device
from audio_lm.model.encoders.packed_layout import (
    Ints,
    PackedLayout,
    packed_layout,
    segment_positions,
    segment_starts,
)

WINDOW = 400  # samples of a spectrum, 25 ms
BORDER = WINDOW // 2  # frames are centered, so a window extends this far to both sides


class LayoutIndex(NamedTuple):
    """Indices of a pack's clips, int64, all on one device."""

    used_hop: Tensor  # hops of R that count for the maximum of their clip
    clip_of_used: Tensor  # clip of each
    hop_of_row: Tensor  # (W,) hop that each slot row reads
    clip_of_row: Tensor  # (W,)
    frame_of_row: Tensor  # (W,) mel frame; -1 for the empty row
    empty_row: Tensor  # slot rows that are zero
    mirror_to: Tensor  # samples of the padded clips that mirror others
    mirror_from: Tensor  # the others
    num_frames: Tensor  # (N,) mel frames of each clip
    start: Tensor  # (N,) first slot row of each clip
    window: Tensor  # (C,) windows of the second convolution that lie in one clip
    position: Tensor  # (C,) position of each conv frame in its clip
    border: Tensor  # (N+1,) borders of the clips among conv frames
    paired: Tensor  # conv frames that are pooled: all but the last of a clip with an odd number


class FlatIndex(NamedTuple):
    """All tensors of a ``LayoutIndex`` in one, so that a pack moves them with one copy."""

    values: Tensor
    sizes: tuple[int, ...]


def flat_index(num_samples: Sequence[int]) -> FlatIndex:
    """Compute the indices of clips on the CPU.

    Raises:
        ValueError: a clip does not fit the encoder, see ``packed_layout``.
    """
    arrays = _arrays(packed_layout(num_samples))
    return FlatIndex(torch.from_numpy(np.concatenate(arrays)), tuple(map(len, arrays)))


def index_on(slots: PackedLayout, device: torch.device, flat: FlatIndex | None = None) -> LayoutIndex:
    """Indices of a layout on a device.

    Args:
        flat: of the same clips, on the device; None computes it.

    Raises:
        ValueError: ``flat`` is of other clips.
    """
    if flat is None:
        arrays = _arrays(slots)
        values = to_device(np.concatenate(arrays), device)
        flat = FlatIndex(values, tuple(map(len, arrays)))
    index = LayoutIndex(*flat.values.split(flat.sizes))
    num_clips, num_rows = len(slots.num_rows), int(slots.num_rows.sum())
    if (len(index.num_frames), len(index.clip_of_row)) != (num_clips, num_rows):
        raise ValueError(
            f"the layout is of {len(index.num_frames)} clips in {len(index.clip_of_row)} rows -- expected {num_clips} clips in "
            f"{num_rows} rows -- compute it from the num_samples of the pack"
        )
    return index


def _arrays(slots: PackedLayout) -> list[Ints]:
    """Indices in the order of ``LayoutIndex``."""
    hops_N, counts = slots.num_rows + 2, slots.conv_frames
    hop_of_R, clip_W, frame_W = segment_positions(hops_N), slots.clip_of_row(), slots.frame_of_row()
    # L1 conv frames read mel frames 0 ... 2 * L1. The last samples can reach one frame further, 2 * L1 + 1, which
    # counts for the maximum of the clip as in Whisper.
    is_used_R = hop_of_R <= np.minimum(np.repeat(2 * counts + 1, hops_N), MAX_FRAMES - 1)
    # Whisper has frames 0 ... 2999 only; for frame 3000 its convolution reads zero padding.
    is_empty_W = (frame_W < 0) | (frame_W >= MAX_FRAMES)
    mirror_to, mirror_from = _mirrored(slots, hops_N)
    window_C = np.repeat(segment_starts(counts + 1), counts) + segment_positions(counts)
    is_paired_C = segment_positions(counts) < np.repeat(counts - counts % 2, counts)
    return [
        np.flatnonzero(is_used_R),
        np.repeat(np.arange(len(hops_N)), hops_N)[is_used_R],
        segment_starts(hops_N)[clip_W] + np.maximum(frame_W, 0),
        clip_W,
        frame_W,
        np.flatnonzero(is_empty_W),
        mirror_to,
        mirror_from,
        slots.num_frames,
        slots.starts,
        window_C,
        segment_positions(counts),
        np.append(0, np.cumsum(counts)),
        np.flatnonzero(is_paired_C),
    ]


def _mirrored(slots: PackedLayout, hops_N: Ints) -> tuple[Ints, Ints]:
    """Samples before the first one of each padded clip, and those that they repeat."""
    first_N = segment_starts(hops_N) * SAMPLES_PER_FRAME + BORDER
    steps = np.arange(1, BORDER + 1)
    targets, sources = [first_N[:, None] - steps], [first_N[:, None] + steps]
    # Whisper's 30 s end in a reflected border too. It is not zero only if a clip reaches the last 200 samples.
    ends = first_N[slots.num_samples > MAX_SAMPLES - BORDER] + MAX_SAMPLES - 1
    targets.append(ends[:, None] + steps)
    sources.append(ends[:, None] - steps)
    return np.concatenate(targets).ravel(), np.concatenate(sources).ravel()


LAYOUT_OF = {"whisper": flat_index}
"""Encoder kind -> function that computes the layout of a pack; a kind without one computes what it needs itself."""
