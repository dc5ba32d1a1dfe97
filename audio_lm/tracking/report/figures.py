"""Figures of a run: spectrograms of clips, task weights of a mixture, confusion tables; and the common look of figures."""

import io
import logging
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import numpy as np
from matplotlib import font_manager, rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from audio_lm.common.audio_units import FRAMES_PER_SECOND
from audio_lm.tracking.report.audio_report import FloatArray, ReportClip, is_right

CJK_FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Noto Sans SC", "Source Han Sans SC",
    "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "Droid Sans Fallback", "Microsoft YaHei", "PingFang SC",
    "Hiragino Sans", "IPAGothic", "Malgun Gothic", "Nanum Gothic", "Arial Unicode MS", "Unifont",
)  # fmt: skip
MAX_CHARACTERS = 90  # of a line below a spectrogram
MAX_LABEL = 24  # characters of a label beside a table
COLOUR = "#5b54c4"
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#8a7a00", "#7f3c8d")
"""Colours of lines and bars that differ for every kind of colour vision; the first six are those of Okabe and Ito."""
RIGHT, WRONG, GREY, DARK = "#0072b2", "#b34700", "#b8bdc7", "#2b303a"
TITLE, LABEL, TICK = 10, 9, 8  # sizes of fonts
HERTZ = (250, 500, 1000, 2000, 4000)  # of the ticks beside a log-mel
HIGHEST_HERTZ = 8000


@dataclass(frozen=True)
class LogMelPanel:
    """Spectrogram of a clip with a line above and lines below."""

    log_mel: FloatArray
    """(F, M)."""

    title: str
    caption: str = ""
    colour: str = DARK
    """Of the caption."""


def spectrogram_figure(clips: Sequence[ReportClip], *, num_columns: int = 2) -> Figure:
    """Plot the log-mels of clips with audio, each with its reference and answer below; the caption of a wrong one is orange."""
    panels = [
        LogMelPanel(
            clip.log_mel,
            f"{clip.task}   {clip.cut_id}   {len(clip.log_mel) / FRAMES_PER_SECOND:.1f} s",
            f"reference  {_shorten(clip.reference)}\nanswer  {_shorten(clip.answer)}",
            RIGHT if is_right(clip) else WRONG,
        )
        for clip in clips
        if clip.log_mel.size
    ]
    return log_mel_figure(panels, num_columns=num_columns)


def log_mel_figure(panels: Sequence[LogMelPanel], *, num_columns: int = 2) -> Figure:
    """Plot spectrograms side by side."""
    num_rows = max(1, -(-len(panels) // num_columns))
    figure = new_figure(width=6.4 * num_columns, height=2.9 * num_rows)
    grid = figure.subplots(num_rows, num_columns, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for axes, panel in zip(grid.flat, panels, strict=False):
        draw_log_mel(axes, panel.log_mel)
        axes.set_title(panel.title, fontsize=LABEL, loc="left", parse_math=False)
        axes.set_xlabel(panel.caption, fontsize=LABEL, loc="left", parse_math=False, color=panel.colour)
    return figure


def draw_log_mel(axes: Axes, log_mel_FM: FloatArray) -> None:
    """Draw a log-mel (F, M): seconds to the right, kilohertz upwards."""
    num_frames, num_mels = log_mel_FM.shape
    axes.imshow(
        log_mel_FM.T.astype(np.float32), aspect="auto", origin="lower", cmap="magma",
        extent=(0, num_frames / FRAMES_PER_SECOND, 0, num_mels),
    )  # fmt: skip
    bins = [num_mels * slaney_mel(hertz) / slaney_mel(HIGHEST_HERTZ) for hertz in HERTZ]
    axes.set_yticks(bins, [f"{hertz / 1000:g} kHz" for hertz in HERTZ])
    axes.xaxis.set_major_formatter("{x:g} s")
    axes.tick_params(labelsize=TICK)


def slaney_mel(hertz: float) -> float:
    """Mel of a frequency: linear up to 1 kHz, logarithmic above.

    Source: M. Slaney, Auditory Toolbox, 1998; the scale of Whisper's filters.

    >>> round(slaney_mel(1000), 6), round(slaney_mel(6400), 6)
    (15.0, 42.0)
    """
    return 3 * hertz / 200 if hertz < 1000 else 15 + 27 * math.log(hertz / 1000) / math.log(6.4)


def panel_axes(figure: Figure, num_panels: int, *, num_columns: int) -> list[Axes]:
    """Axes of panels, without frames at the top and at the right; places that are left over stay empty."""
    num_rows = max(1, -(-num_panels // num_columns))
    grid = list(figure.subplots(num_rows, num_columns, squeeze=False).flat)
    for number, axes in enumerate(grid):
        axes.tick_params(labelsize=TICK)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_axis_on() if number < num_panels else axes.set_axis_off()
    return grid[:num_panels]


def mixture_figure(weight_of_task: Mapping[str, float], *, counts: str = "clips") -> Figure:
    """Plot the target share of each task as bars; weights need not sum to one.

    Args:
        counts: unit in which the weights count, such as ``clips`` or ``seconds``.
    """
    total = sum(weight_of_task.values()) or 1.0
    shares = sorted(((weight / total, task) for task, weight in weight_of_task.items()), reverse=True)
    figure = new_figure(width=7.0, height=0.8 + 0.26 * max(1, len(shares)))
    axes = figure.subplots()
    bars = axes.barh(
        [task for _, task in shares], [100 * share for share, _ in shares], color=COLOUR, height=0.7
    )
    axes.bar_label(bars, labels=[f"{100 * share:.1f} %" for share, _ in shares], fontsize=8, padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel(f"target share of {counts}, percent", fontsize=8)
    return figure


def confusion_figure(
    labels: Sequence[str], answers: Sequence[str], counts: Sequence[Sequence[int]], *, title: str
) -> Figure:
    """Plot a confusion table: rows are references, columns answers; colors are shares of a row, numbers are clips."""
    table = np.array(counts, dtype=np.float64)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    figure = new_figure(width=2.2 + 0.42 * len(answers), height=1.8 + 0.36 * len(labels))
    axes = figure.subplots()
    axes.imshow(shares, cmap="Purples", vmin=0, vmax=1, aspect="auto")
    columns, rows = ([_shorten(label, MAX_LABEL) for label in names] for names in (answers, labels))
    axes.set_xticks(range(len(columns)), columns, rotation=60, ha="right", fontsize=8, parse_math=False)
    axes.set_yticks(range(len(rows)), rows, fontsize=8, parse_math=False)
    for row, column in zip(*np.nonzero(table), strict=True):
        colour = "white" if shares[row, column] > 0.5 else "black"
        text = f"{table[row, column]:.0f}"
        axes.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
    axes.set_xlabel("answer", fontsize=8)
    axes.set_ylabel("reference", fontsize=8)
    axes.set_title(title, fontsize=9, loc="left", parse_math=False)
    return figure


def figure_png(figure: Figure, *, dots_per_inch: int = 110) -> bytes:
    """Encode a figure as PNG; a character that no font has becomes a box, without warnings."""
    buffer = io.BytesIO()
    with _ignore_missing_glyphs(), rc_context({"font.family": list(_font_families())}):
        figure.savefig(buffer, format="png", dpi=dots_per_inch)
    return buffer.getvalue()


def new_figure(*, width: float, height: float) -> Figure:
    """Create an empty figure of a size in inches, without a window."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _shorten(text: str, limit: int = MAX_CHARACTERS) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 3] + "..."


@cache
def _font_families() -> tuple[str, ...]:
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return ("DejaVu Sans", *(name for name in CJK_FONTS if name in installed))


@contextmanager
def _ignore_missing_glyphs() -> Iterator[None]:
    fonts_log = logging.getLogger("matplotlib.font_manager")
    level = fonts_log.level
    fonts_log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"Glyph .* missing")
            warnings.filterwarnings("ignore", message=r"Matplotlib currently does not support .* natively")
            yield
    finally:
        fonts_log.setLevel(level)
