"""Text and JSON of comparisons of runs."""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from audio_lm.evaluation.report import aligned, interval_text, metric_value, short_number, with_finite_numbers
from audio_lm.metrics.registry import find_metric
from audio_lm.metrics.seeds import SeedMean
from audio_lm.run.compare_runs import (
    ABSENT,
    Arm,
    Comparison,
    DifferingScore,
    DifferingSetting,
    compare_runs,
)
from audio_lm.run.console import run_console

MAX_VALUE = 60  # characters of a setting; longer ones are cut
NUM_TEXT_COLUMNS = 3
ARROWS = {True: "higher is better", False: "lower is better"}


def print_comparison(
    runs: Sequence[Path],
    against: Sequence[Path] = (),
    *,
    as_json: bool = False,
    console: Console | None = None,
) -> None:
    """Print settings and scores that differ between two runs, or two sets of runs with several seeds.

    Raises:
        UserError: as ``compare_runs``.
    """
    console = console or run_console()
    comparisons = compare_runs(runs, against)
    if as_json:
        records = with_finite_numbers([comparison.as_record() for comparison in comparisons])
        lines = [json.dumps(records, indent=1, ensure_ascii=False, default=str)]
    else:
        lines = [line for comparison in comparisons for line in lines_of(comparison)]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def lines_of(comparison: Comparison) -> Iterator[str]:
    """Lines of a comparison: the runs, their settings, their scores."""
    yield f"A: {_arm(comparison.ours)}"
    yield f"B: {_arm(comparison.other)}"
    if not comparison.settings:
        yield "no setting differs"
    for heading, is_deciding in (("settings that decide the weights", True), ("other settings", False)):
        settings = [each for each in comparison.settings if each.affects_result == is_deciding]
        if settings:
            cells = [[heading, "A", "B"], *(_setting(each) for each in settings)]
            yield from aligned(cells, num_text_columns=len(cells[0]))
    if comparison.scores:
        yield from aligned(
            [_heading(comparison), *map(_score, comparison.scores)], num_text_columns=NUM_TEXT_COLUMNS
        )


def _arm(arm: Arm) -> str:
    paths = ", ".join(f"{run.path} (seed {run.seed})" for run in arm.runs)
    return paths if len(arm.runs) == 1 else f"{arm.name}: {paths}"


def _setting(setting: DifferingSetting) -> list[str]:
    return [setting.key, _value(setting.ours), _value(setting.other)]


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 3]}..."


def _heading(comparison: Comparison) -> list[str]:
    kind = comparison.scores[0].kind
    units = "seeds" if "seeds" in kind else "clips"
    return ["benchmark", "metric", "better", "A", "B", "A - B", f"95 % interval ({kind})", units, "A is"]


def _score(score: DifferingScore) -> list[str]:
    metric = find_metric(score.metric)
    difference = "" if score.difference is None else _signed(score.difference)
    verdict = score.verdict or "unknown"
    return [
        score.benchmark,
        metric.title,
        ARROWS[metric.is_higher_better],
        _mean(score.ours, score.metric),
        _mean(score.other, score.metric),
        difference,
        interval_text(score.interval),
        str(score.num_units),
        verdict,
    ]


def _mean(mean: SeedMean | None, metric: str) -> str:
    """Mean with half of its interval."""
    if mean is None:
        return ABSENT
    half = "" if mean.half_width is None else f" +- {short_number(mean.half_width)}"
    return metric_value(mean.mean, metric) + half


def _signed(value: float) -> str:
    return f"{'+' if value > 0 else ''}{short_number(value)}" if math.isfinite(value) else ABSENT
