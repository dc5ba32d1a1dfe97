"""How long a clip is: seconds, samples, mel frames, audio tokens.

One second is 16 000 samples, 100 mel frames, 25 audio tokens. Every other
module asks this one; none of them divides by 160 itself.

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
MAX_SECONDS: Seconds = 30.0  # what the encoder sees at once
MAX_SAMPLES = int(MAX_SECONDS * SAMPLES_PER_SECOND)
MAX_FRAMES = MAX_SAMPLES // SAMPLES_PER_FRAME
MIN_FRAMES = 3  # fewer make no audio token


def samples_in(seconds: Seconds) -> int:
    """Samples of a stretch of audio, rounded to the nearest."""
    return round(seconds * SAMPLES_PER_SECOND)


def frames_in(num_samples: int) -> int:
    """Mel frames of a waveform; an unfinished last hop counts as one.

    >>> frames_in(16_000), frames_in(161)
    (100, 2)
    """
    return -(-num_samples // SAMPLES_PER_FRAME)


def conv_frames_in(num_frames: int) -> int:
    """Encoder positions of so many mel frames: the second convolution has stride 2.

    >>> conv_frames_in(3000), conv_frames_in(3), conv_frames_in(4)
    (1500, 2, 2)
    """
    return (num_frames - 1) // 2 + 1


def tokens_in(num_frames: int) -> int:
    """Audio tokens of so many mel frames.

    Two strides of two: the convolution rounds up and the pool rounds down,
    so the two cannot be replaced by one division by four.

    >>> tokens_in(MAX_FRAMES), tokens_in(100), tokens_in(2)
    (750, 25, 0)
    """
    return (conv_frames_in(num_frames) - 2) // 2 + 1


class Window(NamedTuple):
    """One step from many places to few: each new place sees ``length`` old ones, ``hop`` apart."""

    length: int
    hop: int


@dataclass(frozen=True)
class AudioTokenCount:
    """How many audio tokens a clip makes, in integers, from its samples through encoder and projector.

    >>> WHISPER.tokens_in(16_000), WHISPER.min_samples, WHISPER.tokens_per_second
    (25, 321, 25.0)
    """

    windows: tuple[Window, ...]
    """From samples to audio tokens, in the order they are applied."""

    @cached_property
    def min_samples(self) -> int:
        """Samples that make one token; shorter clips are heard with silence after them."""
        count = 1
        for length, hop in reversed(self.windows):
            count = (count - 1) * hop + length
        return count

    @property
    def tokens_per_second(self) -> float:
        """Of a long clip."""
        return SAMPLES_PER_SECOND / prod(window.hop for window in self.windows)

    def tokens_in(self, num_samples: int) -> int:
        """Audio tokens of a clip; never none."""
        count = max(num_samples, self.min_samples)
        for length, hop in self.windows:
            count = (count - length) // hop + 1
        return count

    def with_windows(self, *windows: Window) -> "AudioTokenCount":
        """The same with more steps behind it."""
        return AudioTokenCount((*self.windows, *windows))


WHISPER = AudioTokenCount((Window(1, SAMPLES_PER_FRAME), Window(1, 2), Window(2, 2)))
"""Mel frames, the convolution of stride two, the pool over pairs."""
