"""Table of what later stages have forgotten: one row for each model, one column for each score.

The first row is the base, which the first stage started from. A change is relative to the first row that has the score of a
trained model.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from audio_lm.evaluation.config import BASE, GUARD, BenchmarkConfig, GuardConfig
from audio_lm.evaluation.report import aligned, metric_value
from audio_lm.evaluation.score import score_key
from audio_lm.metrics.registry import find_metric

PERPLEXITY = "perplexity"


class GuardScore(NamedTuple):
    """One column of the table."""

    heading: str
    benchmark: str
    metric: str
    own_stage: str
    """Stage whose own score is the standard; empty for the perplexity, which every model has."""

    def key(self, model: str) -> str:
        """Key of the score of a model in ``scores.json``."""
        prefix = "" if model == self.own_stage else guard_prefix(model)
        return score_key(self.benchmark, self.metric, prefix)

    def text(self, value: float | None, standard: float | None) -> str:
        """Cell of the table, with the change."""
        if value is None:
            return ""
        shown = f"{value:.2f}" if self.metric == PERPLEXITY else metric_value(value, self.metric)
        return shown if standard is None else f"{shown} ({value - standard:+.3f})"


def guard_prefix(model: str) -> str:
    """Folder of the answers, and prefix of the scores, of a model.

    >>> guard_prefix("prefer")
    'guard/prefer'
    """
    return f"{GUARD}/{model}"


def perplexity_name(source: str) -> str:
    """Name of the text of a guard among benchmarks."""
    return f"text/{source}"


def guard_scores(guard: GuardConfig, benchmarks: Mapping[str, BenchmarkConfig]) -> list[GuardScore]:
    """Columns of the table."""
    columns = [
        GuardScore(f"{name} {find_metric(metric).title}", name, metric, benchmarks[name].stage)
        for name in guard.benchmarks
        if name in benchmarks
        for metric in benchmarks[name].metrics
    ]
    if guard.text is not None:
        columns.append(GuardScore(f"{guard.text} perplexity", perplexity_name(guard.text), PERPLEXITY, ""))
    return columns


def guard_table(
    guard: GuardConfig,
    benchmarks: Mapping[str, BenchmarkConfig],
    stages: Sequence[str],
    scores: Mapping[str, float],
) -> list[str]:
    """Lines of the table; none without a score."""
    columns = guard_scores(guard, benchmarks)
    standards: dict[GuardScore, float] = {}
    rows = []
    for model in (BASE, *stages):
        values = [scores.get(column.key(model)) for column in columns]
        if any(value is not None for value in values):
            rows.append(
                [
                    model,
                    *(
                        column.text(value, standards.get(column))
                        for column, value in zip(columns, values, strict=True)
                    ),
                ]
            )
        for column, value in zip(columns, values, strict=True):
            if value is not None and (model != BASE or not column.own_stage):
                standards.setdefault(column, value)
    if not rows:
        return []
    heading = ["model", *(column.heading for column in columns)]
    return ["guard (in parentheses: change in later stages)", *aligned([heading, *rows], num_text_columns=1)]
