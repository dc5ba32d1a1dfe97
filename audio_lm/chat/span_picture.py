"""Picture of a clip: its waveform, the words of a model at their times, and the spans of the words that were found."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from audio_lm.chat.grounding import Span
from audio_lm.common.audio_units import SAMPLES_PER_SECOND
from audio_lm.common.word_timestamps import SILENCE, Unit
from audio_lm.tracking.report.figures import figure_png, new_figure

Wave = np.ndarray[Any, np.dtype[np.float32]]
COLUMNS = 1200  # of the waveform; more samples are drawn as their range
FOUND, OTHER, LINE = "#f0a830", "#888888", "#5b54c4"


def span_picture(wave: Wave, units: Sequence[Unit], spans: Sequence[Span], *, title: str = "") -> bytes:
    """PNG of a clip.

    Args:
        wave: (S,) at 16 kHz.
        units: words and silences, for the labels below.
        spans: to highlight.
    """
    seconds = len(wave) / SAMPLES_PER_SECOND
    figure = new_figure(width=min(24.0, max(6.0, 2 + 1.1 * seconds)), height=2.8)
    axes = figure.subplots()
    size = max(1, -(-len(wave) // COLUMNS))
    padded = np.pad(wave, (0, -len(wave) % size)).reshape(-1, size)
    times = np.arange(len(padded)) * size / SAMPLES_PER_SECOND
    axes.fill_between(times, padded.min(1), padded.max(1), color=LINE, linewidth=0.5)
    highest = max(0.01, float(np.abs(wave).max(initial=0.0)))
    axes.set_xlim(0, seconds)
    axes.set_ylim(-1.5 * highest, 1.15 * highest)
    for span in spans:
        axes.axvspan(span.start, span.end, color=FOUND, alpha=0.35)
        axes.text(
            span.start,
            1.05 * highest,
            f"{span.start:.2f}-{span.end:.2f} s",
            fontsize=7,
            va="center",
            parse_math=False,
        )
    for unit in units:
        if unit.symbol != SILENCE:
            is_found = any(span.start <= unit.start and unit.end <= span.end for span in spans)
            axes.text(
                (unit.start + unit.end) / 2,
                -1.3 * highest,
                unit.symbol,
                fontsize=8,
                ha="center",
                va="center",
                weight="bold" if is_found else "normal",
                parse_math=False,
            )
            axes.axvline(unit.start, ymax=0.18, color=OTHER, linewidth=0.5)
            axes.axvline(unit.end, ymax=0.18, color=OTHER, linewidth=0.5)
    axes.set_yticks([])
    axes.tick_params(labelsize=7)
    axes.set_xlabel("seconds", fontsize=8)
    axes.set_title(title, fontsize=9, loc="left", parse_math=False)
    return figure_png(figure)
