"""Where each clip lies when clips stand end to end: the integers of the packed encoder.

A clip's slot is one empty row, then its mel frames 0 ... 2 * L1 (L1 conv frames). The empty
row is the left border of both convolutions; the last one or two frames lie past the clip's
end, and the second convolution still reads them.

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
    """The slots of a pack's clips."""

    num_samples: Ints
    num_frames: Ints  # mel frames that hold the clip
    conv_frames: Ints  # positions of the encoder, all of them keys

    @property
    def num_rows(self) -> Ints:
        """Rows of each slot; always even, so that the stride of two never straddles clips."""
        return 2 * self.conv_frames + 2

    @property
    def starts(self) -> Ints:
        """The empty row of each slot."""
        return before(self.num_rows)

    def clip_of_row(self) -> Ints:
        """(W,) which clip a row belongs to."""
        return np.repeat(np.arange(len(self.num_rows)), self.num_rows)

    def frame_of_row(self) -> Ints:
        """(W,) which mel frame a row holds; -1 for the empty row."""
        return within(self.num_rows) - 1


def packed_layout(num_samples: Sequence[int]) -> PackedLayout:
    """Lay clips out.

    Raises:
        ValueError: a clip makes no audio token or is longer than the encoder hears.
    """
    num_frames = [frames_in(count) for count in num_samples]
    short = [count for count, frames in zip(num_samples, num_frames, strict=True) if frames < MIN_FRAMES]
    long = [count for count in num_samples if count > MAX_SAMPLES]
    if short or long:
        raise ValueError(
            f"clips of {(short + long)[:5]} samples do not fit the encoder -- it hears {MIN_FRAMES} mel frames to "
            f"{MAX_SAMPLES} samples -- leave them out when the pack is made"
        )
    conv_frames = [conv_frames_in(frames) for frames in num_frames]
    return PackedLayout(
        *(np.array(column, dtype=np.int64) for column in (num_samples, num_frames, conv_frames))
    )


def before(counts: Ints) -> Ints:
    """Where each stretch begins.

    >>> before(np.array([3, 1, 2])).tolist()
    [0, 3, 4]
    """
    return np.cumsum(counts) - counts


def within(counts: Ints) -> Ints:
    """Places counted from the beginning of each stretch.

    >>> within(np.array([3, 1, 2])).tolist()
    [0, 1, 2, 0, 0, 1]
    """
    return np.arange(counts.sum()) - np.repeat(before(counts), counts)
