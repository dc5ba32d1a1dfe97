"""Radar picture of scores, as in the papers: an axis for each benchmark, a line for each system, further out is better."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.projections.polar import PolarAxes

from audio_lm.evaluation.report import Row, metric_value
from audio_lm.metrics.registry import JUDGE_SCORE, find_metric
from audio_lm.tracking.report.figures import new_figure

MIN_AXES = 3
HIGHEST = {"bleu": 100.0, "bleu_qwen_audio": 100.0, JUDGE_SCORE: 10.0}
"""Metric whose largest value is not 1 -> that value."""

COLOURS = ("#5b54c4", "#d0661d", "#1a8450", "#b3361e", "#2a7ab8", "#8a6d1d")
DIM = "#8b93a3"


@dataclass(frozen=True)
class RadarLine:
    """Scores of a system."""

    name: str
    value_of: Mapping[str, float]
    """Axis -> value from 0 to 1, see ``radius_of``."""

    label_of: Mapping[str, str]
    """Axis -> score as printed."""

    is_dim: bool = False
    """A baseline or a control, drawn behind the systems."""


def radius_of(row: Row, score: float | None) -> float | None:
    """Distance from the centre: the score, or 1 - the error; None for a metric without a scale, such as milliseconds."""
    metric = find_metric(row.metric)
    if score is None or not math.isfinite(score) or metric.unit:
        return None
    share = score / HIGHEST.get(metric.name, 1.0)
    return min(1.0, max(0.0, share if metric.is_higher_better else 1 - share))


def main_rows(rows: Sequence[Row]) -> dict[str, Row]:
    """First metric of each benchmark that has a place on a radar, by benchmark."""
    found: dict[str, Row] = {}
    for row in rows:
        if radius_of(row, row.ours) is not None:
            found.setdefault(row.benchmark, row)
    return found


def radar_lines(name: str, rows: Sequence[Row]) -> list[RadarLine]:
    """Lines of a run: its scores, the published ones, and those without the audio."""
    axes = main_rows(rows)
    columns: dict[str, dict[str, float | None]] = {
        name: {key: row.ours for key, row in axes.items()},
        "published": {key: row.expected for key, row in axes.items()},
        "with silence": {
            key: row.shadows["silence"].score if "silence" in row.shadows else None
            for key, row in axes.items()
        },
        "majority": {key: row.majority for key, row in axes.items()},
    }
    lines = []
    for title, score_of in columns.items():
        pairs = {
            key: radius
            for key, score in score_of.items()
            if (radius := radius_of(axes[key], score)) is not None
        }
        labels = {key: metric_value(score_of[key], axes[key].metric) for key in pairs}
        if pairs:
            lines.append(RadarLine(title, pairs, labels, is_dim=title in ("with silence", "majority")))
    return lines


def radar_figure(lines: Sequence[RadarLine], *, title: str) -> Figure | None:
    """Draw the lines; None if there are fewer than three axes."""
    axes_names = list(dict.fromkeys(key for line in lines for key in line.value_of))
    if len(axes_names) < MIN_AXES:
        return None
    figure = new_figure(width=8.6, height=7.4)
    axes = figure.add_subplot(projection="polar")
    assert isinstance(axes, PolarAxes), "the projection is polar"
    angle_of = {key: 2 * math.pi * index / len(axes_names) for index, key in enumerate(axes_names)}
    axes.set_theta_offset(math.pi / 2)
    axes.set_theta_direction(-1)
    colours = iter(COLOURS * (1 + len(lines) // len(COLOURS)))
    for line in sorted(lines, key=lambda line: not line.is_dim):
        # Not a number where a benchmark has no score, so that no line crosses its axis.
        points = [(angle_of[key], line.value_of.get(key, math.nan)) for key in axes_names]
        angles, radii = zip(*points, points[0], strict=True)
        colour, linewidth = (DIM, 1.0) if line.is_dim else (next(colours), 1.8)
        dashes = "--" if line.name == "majority" else ":"
        is_closed = len(line.value_of) == len(axes_names)
        axes.plot(
            angles,
            radii,
            marker="o",
            markersize=3.5,
            label=line.name,
            color=colour,
            linewidth=linewidth,
            linestyle=dashes if line.is_dim else "-",
        )
        if not line.is_dim and is_closed:
            axes.fill(angles, radii, color=colour, alpha=0.12)
    axes.set_ylim(0, 1)
    axes.set_yticks([0.25, 0.5, 0.75, 1.0], ["", "0.5", "", "1"], fontsize=7, color=DIM)
    shown = next((line for line in lines if not line.is_dim), lines[0])
    labels = [f"{key}\n{shown.label_of.get(key, '')}" for key in axes_names]
    axes.set_xticks(list(angle_of.values()), labels, fontsize=8, parse_math=False)
    for label, angle in zip(axes.get_xticklabels(), angle_of.values(), strict=True):
        side = math.sin(angle)  # clockwise from the top
        label.set_horizontalalignment("center" if abs(side) < 0.1 else "left" if side > 0 else "right")
    axes.grid(color="#d9dde5", linewidth=0.7)
    axes.spines["polar"].set_color("#d9dde5")
    figure.legend(loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=10, x=0.02, ha="left", parse_math=False)
    return figure
