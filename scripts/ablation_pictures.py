"""Draw what ``scripts/ablations.py table`` prints: differences to the base, and data efficiency.

python scripts/ablation_pictures.py --runs runs/ablations --out docs/pictures

Arms that are not trained have no row.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ablations import ARMS, DIGITS, Efficiency, efficiency_values, finished_pairs
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from audio_lm.evaluation.report import metric_value
from audio_lm.metrics.registry import find_metric
from audio_lm.metrics.seeds import mean_over_seeds
from audio_lm.run.compare_runs import DifferingScore, compare_runs
from audio_lm.tracking.report.figures import new_figure

COLOURS = {"better": "#16856b", "worse": "#b3361e", "noise": "#8a919e"}
SHOWN = {
    ("asr", "wer"): "synthetic digits, word errors",
    ("questions", "acc"): "questions about sounds, accuracy",
    ("sound", "acc"): "sound, accuracy",
    ("detection", "event_f1"): "times of sounds, F1",
    ("strings", "wer"): "recorded digits, word errors",
}
COMPARED = [arm for arm in [*ARMS][1:] if "rows" not in arm and "pretrain" not in arm]
"""Arms of the first picture; those of data efficiency have the second one."""

WIDEST = 0.6
"""Largest difference drawn; what lies beyond ends in an arrow."""


def differences_figure(runs: Path, seeds: Sequence[int]) -> Figure:
    """A column for each score, a row for each arm: mean difference to the base with its 95 % interval."""
    compared = _compared(runs, seeds)
    arms = [*compared]
    figure = new_figure(width=11.0, height=0.8 + 0.36 * len(arms))
    columns = figure.subplots(1, len(SHOWN), sharey=True)
    for axes, (key, title) in zip(columns, SHOWN.items(), strict=True):
        axes.axvline(0.0, color="#2b303a", linewidth=0.8)
        for row, arm in enumerate(arms):
            if score := compared[arm].get(key):
                _draw_difference(axes, row, score)
        is_higher = find_metric(key[1]).is_higher_better
        axes.set_title(f"{title}\n({'right' if is_higher else 'left'} is better)", fontsize=8)
        axes.set_xlim(-WIDEST, WIDEST)
        axes.tick_params(labelsize=8)
        axes.grid(axis="y", color="#e3e6eb", linewidth=0.6)
    columns[0].set_yticks(range(len(arms)), [arm.replace("_", " ") for arm in arms])
    columns[0].invert_yaxis()
    return figure


def _compared(runs: Path, seeds: Sequence[int]) -> dict[str, dict[tuple[str, str], DifferingScore]]:
    """Arm -> benchmark and metric -> difference to the base."""
    found = {}
    for arm in COMPARED:
        ours, others = finished_pairs(runs, arm, seeds)
        if ours:
            (comparison,) = compare_runs(ours, others)
            found[arm] = {(score.benchmark, score.metric): score for score in comparison.scores}
    return found


def _draw_difference(axes: Axes, row: int, score: DifferingScore) -> None:
    if score.difference is None:
        return
    colour = COLOURS.get(score.verdict, COLOURS["noise"])
    low, high = score.interval or (score.difference, score.difference)
    axes.hlines(row, max(low, -WIDEST), min(high, WIDEST), color=colour, linewidth=2.0)
    for end, marker, is_beyond in ((-WIDEST, "<", low < -WIDEST), (WIDEST, ">", high > WIDEST)):
        if is_beyond:
            axes.plot(end, row, marker, color=colour, clip_on=False, markersize=6)
    if abs(score.difference) <= WIDEST:
        axes.plot(score.difference, row, "o", color=colour, markersize=5)


def efficiency_figure(runs: Path, seeds: Sequence[int]) -> Figure:
    """Word error rate by the number of training strings, with and without `pretrain`; a dot is a seed."""
    values = [each for each in efficiency_values(runs, seeds) if each.rates]
    figure = new_figure(width=6.4, height=3.8)
    axes = figure.subplots()
    for starts, name, colour in (
        (True, "after pretrain on synthetic speech", "#4f46b8"),
        (False, "from random weights", "#d1661f"),
    ):
        _draw_line(axes, [each for each in values if each.starts_from_pretrain == starts], name, colour)
    axes.set_xscale("symlog", linthresh=20)
    axes.set_xticks([0, 30, 200, 2000], ["none", "30", "200", "2 000"])
    axes.minorticks_off()
    axes.set_xlabel(f"strings of recorded digits in stage {DIGITS!r}")
    axes.set_ylabel("word error rate, new speaker")
    axes.set_ylim(0.0, 1.1)
    axes.set_xlim(-4, 5000)
    axes.grid(color="#e3e6eb", linewidth=0.6)
    axes.legend(frameon=False, fontsize=8)
    return figure


def _draw_line(axes: Axes, values: Sequence[Efficiency], name: str, colour: str) -> None:
    means = [mean_over_seeds(each.rates).mean for each in values]
    sizes = [each.strings for each in values]
    axes.plot(sizes, means, "-", color=colour, linewidth=1.5, label=name)
    for each, mean in zip(values, means, strict=True):
        axes.plot([each.strings] * len(each.rates), each.rates, "o", color=colour, markersize=4, alpha=0.6)
        axes.annotate(
            metric_value(mean, "wer"), (each.strings, mean), (6, 6), textcoords="offset points", fontsize=8
        )


def main() -> None:
    """Write both pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, default=Path("runs/ablations"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    given = parser.parse_args()
    for name, figure in (
        ("ablations", differences_figure(given.runs, given.seeds)),
        ("data_efficiency", efficiency_figure(given.runs, given.seeds)),
    ):
        path = given.out / f"{name}.png"
        figure.savefig(path, dpi=110)
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
