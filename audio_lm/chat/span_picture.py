"""Picture of a clip: its waveform, the words of a model at their times, and the spans of the words that were found."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from audio_lm.chat.grounding import Span
from audio_lm.common.word_timestamps import Unit
from audio_lm.tracking.report.figures import figure_png
from audio_lm.tracking.report.words_figure import words_figure

Wave = np.ndarray[Any, np.dtype[np.float32]]


def span_picture(wave: Wave, units: Sequence[Unit], spans: Sequence[Span], *, title: str = "") -> bytes:
    """PNG of a clip.

    Args:
        wave: (S,) at 16 kHz.
        units: words and silences, for the labels below.
        spans: to highlight.
    """
    times = [(span.start, span.end) for span in spans]
    return figure_png(words_figure(wave, {"model": units}, highlights=times, title=title))
