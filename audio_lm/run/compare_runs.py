"""Two runs, or two sets of runs with several seeds: settings that differ beside scores that differ.

Two runs are compared on the clips that both have answered, with the paired bootstrap interval over clips of ``report``. Sets of
runs are compared by their means over seeds with t-intervals, and by differences between runs of equal seed: those share
their initial weights and, as far as their settings agree, the order of examples.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from audio_lm.common.errors import UserError
from audio_lm.common.safe_yaml import Tree
from audio_lm.config.load import result_settings
from audio_lm.config.result_keys import affects_result
from audio_lm.config.schema import Recipe
from audio_lm.config.yaml_layers import read_layer
from audio_lm.evaluation.predict import Prediction
from audio_lm.evaluation.uncertainty import scored
from audio_lm.metrics.registry import find_metric
from audio_lm.metrics.seeds import SeedMean, mean_over_seeds
from audio_lm.run.report_runs import RunReport, read_report

SEED = "seed"
PER_SEED = re.compile(r"seed|extends|stages\..+\.start_from")
"""Settings that may differ between the seeds of an arm: a run with another seed may start from a run with another seed."""

ABSENT = "-"
SEEDS, CLIPS = "t over seeds", "bootstrap over clips"
ScoreKey = tuple[str, str]
"""Benchmark and metric."""


@dataclass(frozen=True)
class ComparedRun:
    """A run with its settings and scores."""

    report: RunReport
    tree: Tree
    """The composed recipe as nested dicts."""

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return int(self.tree.get(SEED, 0))

    @property
    def path(self) -> str:
        """Folder of the run."""
        return self.report.name

    @cached_property
    def scores(self) -> dict[ScoreKey, float]:
        """Scores of the trained model."""
        return {(row.benchmark, row.metric): row.ours for row in self.report.rows}

    def answers(self, benchmark: str) -> list[Prediction]:
        """Kept answers to a benchmark."""
        return self.report.answers(benchmark)

    @property
    def recipe(self) -> Recipe:
        """Recipe of the run."""
        return self.report.recipe


@dataclass(frozen=True)
class Arm:
    """Runs that differ in their seed only."""

    name: str
    runs: list[ComparedRun]

    def values(self, key: ScoreKey) -> dict[int, float]:
        """Seed -> score, of the runs that have it."""
        return {run.seed: run.scores[key] for run in self.runs if key in run.scores}


@dataclass(frozen=True)
class DifferingSetting:
    """A key with its values in both arms."""

    key: str
    ours: Any
    other: Any
    affects_result: bool
    """False for settings that change no trained weight, such as folders."""


@dataclass(frozen=True)
class DifferingScore:
    """One score of both arms."""

    benchmark: str
    metric: str
    ours: SeedMean | None
    other: SeedMean | None
    difference: float | None
    """Ours minus the other; of several seeds, the mean over those that both have."""

    interval: tuple[float, float] | None
    """95 % interval of the difference."""

    kind: str
    """Kind of the interval."""

    num_units: int
    """Seeds that both arms have, or clips that both runs have answered."""

    verdict: str
    """better or worse: ours, by an interval without 0; noise; empty where nothing is known."""


@dataclass(frozen=True)
class Comparison:
    """Settings and scores of two arms."""

    ours: Arm
    other: Arm
    settings: list[DifferingSetting]
    scores: list[DifferingScore]

    def as_record(self) -> dict[str, Any]:
        """The comparison for JSON."""
        arms = {
            side: {"name": arm.name, "runs": {run.path: run.seed for run in arm.runs}}
            for side, arm in (("ours", self.ours), ("other", self.other))
        }
        scores = [asdict(score) for score in self.scores]
        return {**arms, "settings": [asdict(each) for each in self.settings], "scores": scores}


def compare_runs(runs: Sequence[Path], against: Sequence[Path] = ()) -> list[Comparison]:
    """Compare two runs, or sets of runs that differ in their seed only.

    Args:
        runs: without ``against``, two runs, or runs of several recipes, which are grouped by their settings without the seed;
            the first group is compared with each other one.
        against: the runs that ``runs`` are compared with.

    Raises:
        UserError: a folder holds no scores, or the runs are no comparison.
    """
    paths = [*runs, *against]
    if len(paths) < 2:
        raise UserError(
            f"{len(paths)} run is no comparison -- expected two runs or more -- name another, or see `audio-lm report`"
        )
    if twice := sorted({str(path) for path in paths if paths.count(path) > 1}):
        raise UserError(f"{twice[0]} is named twice -- expected different runs -- name each once")
    if against:
        return [compare_arms(_arm(runs), _arm(against))]
    if len(runs) == 2:
        return [compare_arms(_arm(runs[:1]), _arm(runs[1:]))]
    first, *others = _grouped([_read(path) for path in runs])
    if not others:
        raise UserError(
            f"all {len(runs)} runs differ in their seed only -- expected runs of two recipes or more -- name runs of another "
            f"recipe, or two sets with --against"
        )
    return [compare_arms(first, other) for other in others]


def _read(path: Path) -> ComparedRun:
    report = read_report(path)
    recipe = report.folder.recipe
    tree = read_layer(recipe).tree if recipe.is_file() else {}
    return ComparedRun(report, tree)


def _arm(paths: Sequence[Path]) -> Arm:
    runs = [_read(path) for path in paths]
    groups = _grouped(runs)
    if len(groups) > 1:
        ours, other = groups[0].runs[0], groups[1].runs[0]
        keys = ", ".join(each.key for each in differing_settings([ours], [other]) if each.affects_result)
        raise UserError(
            f"{ours.path} and {other.path} are on one side, but differ in {keys} -- expected runs that differ in their seed "
            f"only -- compare them with each other, or name one of the two"
        )
    return groups[0]


def _grouped(runs: Sequence[ComparedRun]) -> list[Arm]:
    """Runs with the same settings apart from the seed, in the order of their first runs."""
    groups: dict[str, list[ComparedRun]] = {}
    for run in runs:
        kept = {key: value for key, value in result_settings(run.tree).items() if not PER_SEED.fullmatch(key)}
        groups.setdefault(json.dumps(kept, sort_keys=True, default=str), []).append(run)
    arms = [Arm(_name_of(group), group) for group in groups.values()]
    for arm in arms:
        seeds = [run.seed for run in arm.runs]
        if len(set(seeds)) < len(seeds):
            paths = [run.path for run in arm.runs if seeds.count(run.seed) > 1]
            raise UserError(
                f"{paths[0]} and {paths[1]} have the same settings and the same seed -- expected one run per seed -- leave "
                f"one out"
            )
    return arms


def _name_of(runs: Sequence[ComparedRun]) -> str:
    """Name of the recipe, or the folder where there is one run."""
    return runs[0].path if len(runs) == 1 else f"{runs[0].recipe.name} ({len(runs)} seeds)"


def compare_arms(ours: Arm, other: Arm) -> Comparison:
    """Settings and scores of two arms, as far as they differ; equal scores are left out of neither."""
    keys = list(dict.fromkeys(key for arm in (ours, other) for run in arm.runs for key in run.scores))
    scores = [_compared(ours, other, key) for key in keys]
    return Comparison(ours, other, differing_settings(ours.runs, other.runs), scores)


def differing_settings(ours: Sequence[ComparedRun], others: Sequence[ComparedRun]) -> list[DifferingSetting]:
    """Settings that differ between the first runs of both sides; those that affect the result first.

    A table that one side does not have is one entry. The seed is left out where a side has several runs.
    """
    is_single = len(ours) == len(others) == 1
    found = [
        DifferingSetting(key, left, right, affects_result(key))
        for key, left, right in _differing(ours[0].tree, others[0].tree, "")
        if is_single or key != SEED
    ]
    return sorted(found, key=lambda each: not each.affects_result)


def _differing(left: Tree, right: Tree, prefix: str) -> Iterator[tuple[str, Any, Any]]:
    for name in dict.fromkeys([*left, *right]):
        ours, other = left.get(name, ABSENT), right.get(name, ABSENT)
        if isinstance(ours, dict) and isinstance(other, dict):
            yield from _differing(ours, other, f"{prefix}{name}.")
        elif ours != other:
            yield f"{prefix}{name}", ours, other


def _compared(ours: Arm, other: Arm, key: ScoreKey) -> DifferingScore:
    left, right = ours.values(key), other.values(key)
    if len(ours.runs) == len(other.runs) == 1:
        difference, interval, num_units = _over_clips(ours.runs[0], other.runs[0], key)
        kind = CLIPS
    else:
        common = sorted(left.keys() & right.keys())
        paired = _mean([left[seed] - right[seed] for seed in common])
        difference, interval = (paired.mean, paired.interval) if paired else (None, None)
        kind, num_units = SEEDS, len(common)
    benchmark, metric = key
    return DifferingScore(
        benchmark=benchmark,
        metric=metric,
        ours=_mean([*left.values()]),
        other=_mean([*right.values()]),
        difference=difference,
        interval=interval,
        kind=kind,
        num_units=num_units,
        verdict=verdict_of(difference, interval, is_higher_better=find_metric(metric).is_higher_better),
    )


def _mean(values: Sequence[float]) -> SeedMean | None:
    return mean_over_seeds(values) if values else None


def _over_clips(
    ours: ComparedRun, other: ComparedRun, key: ScoreKey
) -> tuple[float | None, tuple[float, float] | None, int]:
    """Difference, interval, and number of clips that both have answered."""
    benchmark, metric = key
    mine, theirs = (scored(run.answers(benchmark), metric) for run in (ours, other))
    found = mine.compare(theirs) if mine and theirs else None
    if found is not None:
        return found.interval.value, (found.interval.low, found.interval.high), found.num_clips
    both = key in ours.scores and key in other.scores
    return (ours.scores[key] - other.scores[key] if both else None), None, 0


def verdict_of(
    difference: float | None, interval: tuple[float, float] | None, *, is_higher_better: bool
) -> str:
    """Word for a difference: better or worse where its interval does not contain 0, else noise; empty without an interval."""
    if difference is None or interval is None:
        return ""
    if interval[0] <= 0 <= interval[1]:
        return "noise"
    return "better" if (difference > 0) == is_higher_better else "worse"
