"""Plan of a sweep before its first trial: points, steps, and the repetition of each source beside the full-size recipe."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from audio_lm.common.audio_units import Seconds
from audio_lm.common.durations import in_words
from audio_lm.run.time_estimate import RunTime
from audio_lm.sweep.checks import trained_stages
from audio_lm.sweep.definition import Sweep
from audio_lm.sweep.design import first_trials, num_trials
from audio_lm.sweep.trial import Trial

MISMATCH = 1.25
"""Ratio of epochs in the trial and in the full-size recipe from which a warning names a source."""

EQUAL = 0.005  # largest difference of shares between points that are the same mixture


@dataclass(frozen=True)
class PlannedSource:
    """Repetition of a source under a task, over all trials."""

    task: str
    source: str
    all_rows: int
    rows: tuple[int, int]
    """Fewest and most rows of a trial."""

    epochs: tuple[float, float]
    """Fewest and most epochs of a trial."""

    epochs_of_recipe: float
    """Epochs at the recipe's own weights."""

    epochs_in_full: float | None
    """Epochs of the full-size recipe at the same weights; None if trials do not match one."""

    worst_ratio: float
    """Ratio of epochs in the trial and in the full-size recipe that is furthest from 1, over all trials."""


@dataclass(frozen=True)
class PlannedTrial:
    """A trial with its steps and its most repeated source."""

    trial: Trial
    steps: int
    source: str
    epochs: float
    epochs_in_full: float | None


@dataclass(frozen=True)
class SweepPlan:
    """All trials that are known before the first one runs."""

    sweep: Sweep
    trials: list[PlannedTrial]
    sources: list[PlannedSource]
    warnings: list[str]

    def as_table(self) -> dict[str, Any]:
        """Content of the plan as JSON."""
        return {
            "sweep": self.sweep.name,
            "folder": str(self.sweep.folder),
            "trials": [
                {
                    **planned.trial.as_json(),
                    "steps": planned.steps,
                    "most_repeated": planned.source,
                    "epochs": planned.epochs,
                    "epochs_in_full": planned.epochs_in_full,
                }
                for planned in self.trials
            ],
            "sources": [vars(source) for source in self.sources],
            "warnings": self.warnings,
        }


def plan_sweep(sweep: Sweep) -> SweepPlan:
    """Plan the trials of a sweep."""
    trials = first_trials(sweep)
    sources = _planned_sources(sweep, trials)
    return SweepPlan(
        sweep, [_planned(sweep, trial) for trial in trials], sources, [*_warnings(sweep, trials, sources)]
    )


def _planned(sweep: Sweep, trial: Trial) -> PlannedTrial:
    epochs, in_full = sweep.epochs(trial.shares), sweep.epochs_in_full(trial.shares)
    most = max(epochs, key=lambda leaf: epochs[leaf])
    return PlannedTrial(
        trial, sweep.steps(trial.shares), most[1], epochs[most], None if in_full is None else in_full[most]
    )


def _planned_sources(sweep: Sweep, trials: Sequence[Trial]) -> list[PlannedSource]:
    points = [trial.shares for trial in trials]
    epochs = [sweep.epochs(point) for point in points]
    in_full = [sweep.epochs_in_full(point) for point in points]
    limits = [sweep.mixture(point).max_rows for point in points]
    own = sweep.shares.of_recipe if sweep.shares else {}
    of_recipe, of_full = sweep.epochs(own), sweep.epochs_in_full(own)
    found = []
    for leaf in sweep.sizes.leaves:
        key = (leaf.task, leaf.source)
        rows = [min(leaf.num_rows, limit.get(leaf.source, leaf.num_rows)) for limit in limits]
        each = [of_trial[key] for of_trial in epochs]
        ratios = [
            of_trial[key] / full[key]
            for of_trial, full in zip(epochs, in_full, strict=True)
            if full is not None and full[key] > 0 and of_trial[key] > 0
        ]
        found.append(
            PlannedSource(
                task=leaf.task,
                source=leaf.source,
                all_rows=leaf.num_rows,
                rows=(min(rows), max(rows)),
                epochs=(min(each), max(each)),
                epochs_of_recipe=of_recipe[key],
                epochs_in_full=None if of_full is None else of_full[key],
                worst_ratio=max(ratios, key=lambda ratio: max(ratio, 1 / ratio), default=1.0),
            )
        )
    return found


def _warnings(sweep: Sweep, trials: Sequence[Trial], sources: Sequence[PlannedSource]) -> list[str]:
    found = []
    for source in sources:
        if max(source.worst_ratio, 1 / source.worst_ratio) > MISMATCH:
            reason = (
                "too few draws or rows to match"
                if source.worst_ratio < 1
                else "more rows are needed to match"
            )
            found.append(
                f"{source.source} under {source.task}: a trial has {source.worst_ratio:.2f} times the epochs of the "
                f"full-size recipe ({reason}); lengthen the budget, or add data"
            )
    others = [name for name in trained_stages(sweep.base.recipe) if name != sweep.stage]
    if others:
        found.append(
            f"every trial trains {others} as well; to train them once, set only=[{sweep.stage}] and "
            f"stages.{sweep.stage}.start_from in overrides"
        )
    if sweep.shares and not sweep.allows(sweep.shares.of_recipe):
        found.append(
            "the recipe's own weights are outside the bounds; its trial and the repeats run them as they are"
        )
    by_purpose = {trial.purpose: trial for trial in trials}
    references = [
        by_purpose[purpose] for purpose in ("uniform", "proportional", "recipe") if purpose in by_purpose
    ]
    for number, first in enumerate(references):
        for second in references[number + 1 :]:
            if _distance(first.shares, second.shares) < EQUAL:
                found.append(f"trials {first.purpose} and {second.purpose} have the same mixture")
    return found


def _distance(first: Mapping[str, float], second: Mapping[str, float]) -> float:
    return max((abs(first[name] - second[name]) for name in first), default=1.0)


def print_plan(plan: SweepPlan, console: Console, time: RunTime | None = None) -> None:
    """Print the table of trials, the repetition of each source, and the time.

    Args:
        time: measured on the trial of the recipe's own weights.
    """
    sweep = plan.sweep
    console.print(_trial_table(plan))
    console.print(_source_table(plan))
    console.print(f"{len(plan.trials)} trials in {sweep.folder}{_tpe_trials(sweep)}", soft_wrap=True)
    if time is not None and time.is_measured:
        seconds = time_of_trials(plan, time)
        console.print(
            f"about {in_words(sum(seconds))} for all trials one after another, {in_words(max(seconds))} for the longest, "
            f"without the start of each process; n workers need about one n-th",
            soft_wrap=True,
        )
    for warning in plan.warnings:
        console.print(f"[yellow]warning:[/yellow] {warning}", soft_wrap=True)


def time_of_trials(plan: SweepPlan, time: RunTime) -> list[Seconds]:
    """Time of each trial; the varied stage takes time in proportion to its steps."""
    own = plan.sweep.steps(plan.sweep.shares.of_recipe if plan.sweep.shares else {})
    varied = sum(stage.training for stage in time.stages if stage.name == plan.sweep.stage)
    return [time.total + varied * (planned.steps / own - 1) for planned in plan.trials]


def _tpe_trials(sweep: Sweep) -> str:
    return (
        f", and {num_trials(sweep)} that TPE chooses while it runs"
        if sweep.config.design.kind == "tpe"
        else ""
    )


def _trial_table(plan: SweepPlan) -> Table:
    sweep, has_full = plan.sweep, plan.sweep.full is not None
    table = Table(
        title=f"{sweep.name}: {len(plan.trials)} trials of {sweep.base.recipe.name}, stage {sweep.stage}"
    )
    for column in ("trial", "purpose"):
        table.add_column(column)
    for column in (*sweep.space.names, *sweep.space.keys, "seed", "steps"):
        table.add_column(column, justify="right")
    table.add_column("most repeated")
    for column in ("epochs", *(["full size"] if has_full else [])):
        table.add_column(column, justify="right")
    for planned in plan.trials:
        trial = planned.trial
        table.add_row(
            trial.name,
            trial.purpose,
            *(f"{trial.shares[name]:.3f}" for name in sweep.space.names),
            *(str(trial.settings[key]) for key in sweep.space.keys),
            str(trial.seed),
            f"{planned.steps:,}",
            planned.source,
            f"{planned.epochs:.2f}",
            *([f"{planned.epochs_in_full:.2f}"] if planned.epochs_in_full is not None else []),
        )
    return table


def _source_table(plan: SweepPlan) -> Table:
    full = plan.sweep.full
    table = Table(title="repetition at the recipe's weights, and the range over all trials")
    for column in ("task", "source"):
        table.add_column(column)
    in_full = [] if full is None else [f"epochs in {full.name}"]
    for column in ("rows", "rows in trial", "epochs in trial", *in_full, "range in trials"):
        table.add_column(column, justify="right")
    for source in plan.sources:
        fewest, most = source.rows
        table.add_row(
            source.task,
            source.source,
            f"{source.all_rows:,}",
            f"{fewest:,}" if fewest == most else f"{fewest:,}-{most:,}",
            f"{source.epochs_of_recipe:.2f}",
            *([] if source.epochs_in_full is None else [f"{source.epochs_in_full:.2f}"]),
            f"{source.epochs[0]:.2f}-{source.epochs[1]:.2f}",
        )
    return table
