"""Measurement of the regression on recorded surfaces: the runs of RegMix (ICLR 2025, arXiv:2407.01492, MIT licence).

512 and 256 models of 1M parameters, 256 of 60M and 64 of 1B, trained on mixtures of 17 text domains; 13 validation losses each.
Files: ``{train,test}_mixture_{1m,60m,1B}.csv`` and ``{train,test}_pile_loss_{1m,60m,1B}.csv``.

Shapes: N trials.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from audio_lm.sweep.config import MetricConfig
from audio_lm.sweep.fit import SweepFit, fit_table
from audio_lm.sweep.proposals import propose
from audio_lm.sweep.regression.points import Integers
from audio_lm.sweep.regression.surface import rank_correlation
from audio_lm.sweep.table import Floats, TrialTable

TOLERANCE = 0.02
"""A search has arrived within this fraction of the optimum."""

MAX_TRIALS = 100  # of one search
FIRST, BATCH = 6, 2
"""Random trials before the first fit, and proposals of each fit."""


@dataclass(frozen=True)
class RankFigures:
    """Rank correlation with unseen runs, of one subset of the training runs."""

    num_runs: int
    subset: int
    families: dict[str, int]
    """Family -> number of metrics for which it was chosen."""

    trust: float
    """The fit's own estimate of the rank correlation of the objective."""

    coverage: float
    """Fraction of unseen 1M runs and metrics within the 95 % interval."""

    of_objective: dict[str, float]
    """Scale -> Spearman's correlation of the mean of all losses."""

    of_metrics: dict[str, float]
    """Scale -> mean over the losses of Spearman's correlation."""


@dataclass(frozen=True)
class SearchFigures:
    """Trials until a mixture within a tolerance of the best recorded one was run."""

    goal: str
    random: list[int]
    regression: list[int]

    @property
    def ratio(self) -> float:
        """Median of the regression over the median of random search."""
        return float(np.median(self.regression) / np.median(self.random))


def read_recorded(folder: Path, split: str, scale: str) -> TrialTable:
    """Recorded runs of a split at a scale.

    Raises:
        DataError: a file is missing or no table.
    """
    return TrialTable.read(folder / f"{split}_mixture_{scale}.csv", folder / f"{split}_pile_loss_{scale}.csv")


def take(table: TrialTable, rows: Integers | Sequence[int]) -> TrialTable:
    """Some trials of a recorded table, which has neither seeds nor curves."""
    return replace(
        table,
        runs=tuple(table.runs[row] for row in rows),
        shares=table.shares[rows],
        metrics={name: values[rows] for name, values in table.metrics.items()},
    )


def measure_ranks(folder: Path, num_runs: int, subsets: int = 5) -> Iterator[RankFigures]:
    """Fit random subsets of the 1M training runs, and rank the unseen runs of each scale."""
    train = read_recorded(folder, "train", "1m")
    unseen = {scale: read_recorded(folder, "test", scale) for scale in ("1m", "60m", "1B")}
    for subset in range(subsets):
        rows = np.random.default_rng(subset).choice(len(train), num_runs, replace=False)
        fit = fit_table(take(train, rows), _all_equal(train))
        models = [surface.model for surface in fit.surfaces.values()]
        yield RankFigures(
            num_runs,
            subset,
            {model: models.count(model) for model in sorted(set(models))},
            fit.trust,
            _coverage(fit, unseen["1m"]),
            {scale: _objective_rank(fit, table) for scale, table in unseen.items()},
            {scale: _metric_rank(fit, table) for scale, table in unseen.items()},
        )


def measure_search(
    folder: Path, *, first: int = FIRST, batch: int = BATCH, repeats: int = 20
) -> list[SearchFigures]:
    """Search the 768 recorded 1M runs: at random, and by fits and proposals after ``first`` random ones.

    Goals: within ``TOLERANCE`` of the best objective, as a fraction of its value and of its range over all runs.
    """
    pool = _joined(read_recorded(folder, "train", "1m"), read_recorded(folder, "test", "1m"))
    objective = np.mean(list(pool.metrics.values()), axis=0)
    goals = {
        "of the value": objective.min() + TOLERANCE * abs(objective.min()),
        "of the range": objective.min() + TOLERANCE * np.ptp(objective),
    }
    at_random: list[dict[str, int]] = []
    by_fit: list[dict[str, int]] = []
    for repeat in range(repeats):
        order = np.random.default_rng(repeat).permutation(len(pool))
        at_random.append({goal: _first_below(objective[order], limit) for goal, limit in goals.items()})
        tried = _search(pool, [*order[:first]], objective, min(goals.values()), batch)
        by_fit.append({goal: _first_below(objective[tried], limit) for goal, limit in goals.items()})
    return [
        SearchFigures(goal, [one[goal] for one in at_random], [one[goal] for one in by_fit]) for goal in goals
    ]


def rank_line(figures: RankFigures) -> str:
    """Figures of one subset as text."""
    scales = "; ".join(
        f"{scale} {figures.of_objective[scale]:.3f} (mean of metrics {figures.of_metrics[scale]:.3f})"
        for scale in figures.of_objective
    )
    chosen = ", ".join(f"{name} {count}" for name, count in figures.families.items())
    return (
        f"{figures.num_runs} runs, subset {figures.subset}: {scales}; trust {figures.trust:.2f}, "
        f"coverage {figures.coverage:.2f}; {chosen}"
    )


def search_line(figures: SearchFigures) -> str:
    """Figures of one goal as text."""
    return (
        f"within {TOLERANCE:.0%} {figures.goal}: {np.median(figures.random):g} trials at random, "
        f"{np.median(figures.regression):g} with regression and proposals (ratio {figures.ratio:.2f}, "
        f"median of {len(figures.random)} searches)"
    )


def _search(pool: TrialTable, tried: list[int], objective: Floats, limit: float, batch: int) -> list[int]:
    """Rows in the order in which they are run, until one is below a limit."""
    while objective[tried].min() > limit and len(tried) < MAX_TRIALS:
        fit = fit_table(take(pool, tried), _all_equal(pool))
        left = np.setdiff1d(np.arange(len(pool)), tried)
        for shares in propose(fit, batch, candidates=pool.shares[left]):
            tried.append(int(left[np.abs(pool.shares[left] - shares).sum(axis=1).argmin()]))
    return tried


def _first_below(values: Floats, limit: float) -> int:
    """Number of trials up to the first one at or below a limit; one more than all if there is none."""
    found = np.flatnonzero(values <= limit)
    return int(found[0]) + 1 if len(found) else len(values) + 1


def _all_equal(table: TrialTable) -> dict[str, MetricConfig]:
    return {name: MetricConfig() for name in table.metrics}


def _joined(one: TrialTable, other: TrialTable) -> TrialTable:
    metrics = {name: np.concatenate([values, other.metrics[name]]) for name, values in one.metrics.items()}
    return TrialTable(one.runs + other.runs, one.tasks, np.vstack([one.shares, other.shares]), metrics)


def _objective_rank(fit: SweepFit, table: TrialTable) -> float:
    return rank_correlation(fit.predict_objective(table.shares)[0], fit.objective.measured(table.metrics))


def _metric_rank(fit: SweepFit, table: TrialTable) -> float:
    return float(
        np.mean(
            [
                rank_correlation(surface.predict(table.shares)[0], table.metrics[name])
                for name, surface in fit.surfaces.items()
            ]
        )
    )


def _coverage(fit: SweepFit, table: TrialTable) -> float:
    inside = []
    for name, surface in fit.surfaces.items():
        mean, deviation = surface.predict(table.shares)
        inside.append(np.abs(table.metrics[name] - mean) < 1.96 * deviation)
    return float(np.mean(inside))
