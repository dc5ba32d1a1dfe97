"""Units of clip length: seconds, samples, mel frames, audio tokens.

One second is 16 000 samples, 100 mel frames, 25 audio tokens. All other modules
convert with these functions; none divides by 160 itself.

Source: Whisper, arXiv:2212.04356, section 2.2 (frames); Qwen2-Audio,
arXiv:2407.10759, section 2 (the pooling that makes a token 40 ms).
"""

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import NamedTuple

Seconds = float

SAMPLES_PER_SECOND = 16_000
SAMPLES_PER_FRAME = 160  # 10 ms
FRAMES_PER_SECOND = SAMPLES_PER_SECOND // SAMPLES_PER_FRAME
TOKENS_PER_SECOND = 25
MAX_SECONDS: Seconds = 30.0  # input length of the encoder
MAX_SAMPLES = int(MAX_SECONDS * SAMPLES_PER_SECOND)
MAX_FRAMES = MAX_SAMPLES // SAMPLES_PER_FRAME
MIN_FRAMES = 3  # fewer give no audio token
SHORTEST_CLIP = (
    MIN_FRAMES * SAMPLES_PER_FRAME
)  # in samples; a pack without clips encodes a silence of this length


def samples_in(seconds: Seconds) -> int:
    """Number of samples in a duration, rounded to the nearest."""
    return round(seconds * SAMPLES_PER_SECOND)


def frames_in(num_samples: int) -> int:
    """Number of mel frames of a waveform; an incomplete last hop counts as one.

    >>> frames_in(16_000), frames_in(161)
    (100, 2)
    """
    return -(-num_samples // SAMPLES_PER_FRAME)


def conv_frames_in(num_frames: int) -> int:
    """Number of encoder positions for a number of mel frames; the second convolution has stride 2.

    >>> conv_frames_in(3000), conv_frames_in(3), conv_frames_in(4)
    (1500, 2, 2)
    """
    return (num_frames - 1) // 2 + 1


def tokens_in(num_frames: int) -> int:
    """Number of audio tokens for a number of mel frames.

    Both the convolution and the pool have stride 2, but the convolution rounds up and the
    pool rounds down, so one division by four is not equivalent.

    >>> tokens_in(MAX_FRAMES), tokens_in(100), tokens_in(2)
    (750, 25, 0)
    """
    return (conv_frames_in(num_frames) - 2) // 2 + 1


class Window(NamedTuple):
    """Receptive field of one downsampling layer: kernel ``length`` and stride ``hop``, in input positions."""

    length: int
    hop: int


@dataclass(frozen=True)
class AudioTokenCount:
    """Number of audio tokens of a clip after encoder and projector, in integer arithmetic.

    >>> WHISPER.tokens_in(16_000), WHISPER.min_samples, WHISPER.tokens_per_second
    (25, 321, 25.0)
    """

    windows: tuple[Window, ...]
    """Layers from samples to audio tokens, in the order of application."""

    @cached_property
    def min_samples(self) -> int:
        """Number of samples that give one token; shorter clips are padded with silence at the end."""
        count = 1
        for length, hop in reversed(self.windows):
            count = (count - 1) * hop + length
        return count

    @property
    def tokens_per_second(self) -> float:
        """Token rate of a long clip, where edges do not matter."""
        return SAMPLES_PER_SECOND / prod(window.hop for window in self.windows)

    def tokens_in(self, num_samples: int) -> int:
        """Number of audio tokens of a clip, at least one."""
        count = max(num_samples, self.min_samples)
        for length, hop in self.windows:
            count = (count - length) // hop + 1
        return count

    def with_windows(self, *windows: Window) -> "AudioTokenCount":
        """Token count with more layers appended, such as a projector's."""
        return AudioTokenCount((*self.windows, *windows))


WHISPER = AudioTokenCount((Window(1, SAMPLES_PER_FRAME), Window(1, 2), Window(2, 2)))
"""Mel frames, a convolution of stride 2, a pool over pairs."""
