"""Figure of a clip: its spectrogram, its waveform, and words at their times, of a reference and of models."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from audio_lm.common.audio_units import SAMPLES_PER_SECOND, Seconds
from audio_lm.common.word_timestamps import SILENCE, Unit
from audio_lm.tracking.report.audio_report import FloatArray
from audio_lm.tracking.report.figures import (
    COLOUR,
    COLOURS,
    DARK,
    GREY,
    LABEL,
    TICK,
    TITLE,
    draw_log_mel,
    new_figure,
)

COLUMNS = 1200  # of the waveform; more samples are drawn as their range
REFERENCE = "reference"  # row with the first colour
HIGHLIGHT = "#f0a830"
HEIGHT_OF_ROW = 0.34  # inches, of a row of words


def words_figure(
    wave: FloatArray,
    rows: Mapping[str, Sequence[Unit]],
    *,
    log_mel: FloatArray | None = None,
    highlights: Sequence[tuple[Seconds, Seconds]] = (),
    title: str = "",
) -> Figure:
    """Plot a clip with its words.

    Args:
        wave: (S,) at 16 kHz.
        rows: name, such as ``reference``, -> words and silences.
        log_mel: (F, M) of the clip; None leaves the spectrogram out.
        highlights: start and end of spans, in seconds.
    """
    seconds = max(len(wave) / SAMPLES_PER_SECOND, 1e-3)
    heights = [*([1.7] if log_mel is not None else []), 1.1, 0.35 + HEIGHT_OF_ROW * max(1, len(rows))]
    figure = new_figure(width=min(24.0, max(6.0, 2 + 2.2 * seconds)), height=0.6 + sum(heights))
    panels: list[Axes] = list(
        figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights).flat
    )
    if log_mel is not None:
        draw_log_mel(panels[0], log_mel)
    _draw_wave(panels[-2], wave)
    _draw_words(panels[-1], rows, highlights)
    for start, end in highlights:
        panels[-2].axvspan(start, end, color=HIGHLIGHT, alpha=0.35, linewidth=0)
        panels[-2].text(
            start, 1.0, f"{start:.2f}-{end:.2f} s", fontsize=TICK, va="top", parse_math=False,
            transform=panels[-2].get_xaxis_transform(),
        )  # fmt: skip
    first = next(iter(rows.values()), ())
    for axes in panels[:-1]:
        for time in sorted({time for unit in first for time in (unit.start, unit.end)}):
            axes.axvline(
                time, color="white" if axes is not panels[-2] else GREY, linewidth=0.7, linestyle=":"
            )
    panels[0].set_title(title, fontsize=TITLE, loc="left", parse_math=False)
    panels[-1].set_xlim(0, seconds)
    panels[-1].set_xlabel("time, s", fontsize=LABEL)
    return figure


def _draw_wave(axes: Axes, wave: FloatArray) -> None:
    """Draw a waveform as the range of the samples of each column."""
    size = max(1, -(-len(wave) // COLUMNS))
    padded = np.pad(wave, (0, -len(wave) % size)).reshape(-1, size)
    times = np.arange(len(padded)) * size / SAMPLES_PER_SECOND
    axes.fill_between(times, padded.min(1), padded.max(1), color=COLOUR, linewidth=0.5)
    highest = max(0.01, float(np.abs(wave).max(initial=0.0)))
    axes.set_ylim(-1.15 * highest, 1.35 * highest)
    axes.set_ylabel("amplitude", fontsize=LABEL)
    axes.tick_params(labelsize=TICK)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_words(
    axes: Axes, rows: Mapping[str, Sequence[Unit]], highlights: Sequence[tuple[Seconds, Seconds]]
) -> None:
    """Draw each row as boxes at the times of its words; silences are thin lines."""
    others = iter(COLOURS[2:] * (len(rows) + 1))  # the second one is that of highlights
    for number, (name, units) in enumerate(rows.items()):
        colour = COLOURS[0] if name == REFERENCE else next(others)
        for unit in units:
            width = max(unit.end - unit.start, 0.0)
            if unit.symbol == SILENCE:
                axes.plot([unit.start, unit.end], [number, number], color=GREY, linewidth=1.5)
                continue
            is_found = any(start <= unit.start and unit.end <= end for start, end in highlights)
            axes.barh(
                number, width, left=unit.start, height=0.8, color=colour, alpha=0.25, edgecolor=colour, linewidth=0.8
            )  # fmt: skip
            axes.text(
                unit.start + width / 2, number, unit.symbol, fontsize=LABEL, ha="center", va="center", color=DARK,
                weight="bold" if is_found else "normal", parse_math=False, clip_on=True,
            )  # fmt: skip
        if not any(unit.symbol != SILENCE for unit in units):
            axes.text(
                0.5, number, "no words", fontsize=LABEL, ha="center", va="center", color=DARK, style="italic",
                transform=axes.get_yaxis_transform(),
            )  # fmt: skip
    axes.set_ylim(max(1, len(rows)) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), list(rows), fontsize=LABEL, parse_math=False)
    axes.tick_params(axis="x", labelsize=TICK)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
