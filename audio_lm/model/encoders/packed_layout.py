"""Positions of concatenated clips in the packed encoder, as integers.

The slot of a clip is one empty row followed by its mel frames 0 ... 2 * L1, where L1 is its number of conv frames.
The empty row is the left border of both convolutions. The last one or two frames are after the end of the clip;
the second convolution still reads them.

Shapes: N clips, W slot rows, C conv frames of all clips.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audio_lm.common.audio_units import MAX_SAMPLES, MIN_FRAMES, conv_frames_in, frames_in

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PackedLayout:
    """Sizes and positions of the slots of a pack's clips; every array has one element per clip."""

    num_samples: Ints
    num_frames: Ints  # mel frames of the clip
    conv_frames: Ints  # encoder positions; attention uses all of them as keys

    @property
    def num_rows(self) -> Ints:
        """Rows of each slot; always even, so that the convolution of stride two starts at the start of each slot."""
        return 2 * self.conv_frames + 2

    @property
    def starts(self) -> Ints:
        """Index of the first row of each slot, the empty one."""
        return segment_starts(self.num_rows)

    def clip_of_row(self) -> Ints:
        """(W,) clip index of each row."""
        return np.repeat(np.arange(len(self.num_rows)), self.num_rows)

    def frame_of_row(self) -> Ints:
        """(W,) mel frame of each row; -1 for the empty row."""
        return segment_positions(self.num_rows) - 1


def packed_layout(num_samples: Sequence[int]) -> PackedLayout:
    """Compute the layout of clips from their numbers of samples.

    Raises:
        ValueError: a clip is too short for one audio token, or longer than the encoder's 30 s.
    """
    num_frames = [frames_in(count) for count in num_samples]
    short = [count for count, frames in zip(num_samples, num_frames, strict=True) if frames < MIN_FRAMES]
    long = [count for count in num_samples if count > MAX_SAMPLES]
    if short or long:
        raise ValueError(
            f"clips of {(short + long)[:5]} samples do not fit the encoder -- it reads {MIN_FRAMES} mel frames to "
            f"{MAX_SAMPLES} samples -- remove them before the pack is collated"
        )
    conv_frames = [conv_frames_in(frames) for frames in num_frames]
    return PackedLayout(
        *(np.array(column, dtype=np.int64) for column in (num_samples, num_frames, conv_frames))
    )


def segment_starts(counts: Ints) -> Ints:
    """Start of each segment, given the segment lengths.

    >>> segment_starts(np.array([3, 1, 2])).tolist()
    [0, 3, 4]
    """
    return np.cumsum(counts) - counts


def segment_positions(counts: Ints) -> Ints:
    """Position of each element within its segment.

    >>> segment_positions(np.array([3, 1, 2])).tolist()
    [0, 1, 2, 0, 0, 1]
    """
    return np.arange(counts.sum()) - np.repeat(segment_starts(counts), counts)
