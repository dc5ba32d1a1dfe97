"""Tables of trials with a known surface: the real fit of them, and fits whose surfaces are the known ones."""

from dataclasses import dataclass

import numpy as np
import pytest

from audio_lm.sweep.config import MetricConfig
from audio_lm.sweep.fit import SweepFit, fit_table
from audio_lm.sweep.report.view import FitView
from audio_lm.sweep.table import TrialTable

NOISE = 0.01
FIRST = ("uniform", "proportional", "recipe", "bad")
PROPORTIONS = {3: (0.55, 0.3, 0.15), 5: (0.35, 0.25, 0.2, 0.12, 0.08)}
TASKS = ("asr", "lid", "sec", "mna", "ks")


@dataclass(frozen=True)
class LogSurface:
    """Loss that falls with the logarithm of the share of one task, and rises slowly with that of another."""

    metric: str
    task: int
    other: int
    sign: float = 1.0
    deviation: float = 0.002
    model: str = "known"
    rank_correlation: float = 1.0
    leave_one_out: float = 1.0

    def predict(self, shares):
        loss = 1.0 - 0.25 * np.log(shares[:, self.task] + 0.05) + 0.08 * shares[:, self.other]
        return self.sign * loss, np.full(len(shares), self.deviation)


def known_surfaces(num_tasks, deviation=0.002):
    """A loss of each task but the last, and a score of the last one whose larger values are better."""
    names = [*(f"val_loss/{task}" for task in TASKS[: num_tasks - 1]), f"events_{TASKS[num_tasks - 1]}/acc"]
    signs = [1.0] * (num_tasks - 1) + [-1.0]
    return {
        name: LogSurface(name, at, (at + 1) % num_tasks, sign, deviation)
        for at, (name, sign) in enumerate(zip(names, signs, strict=True))
    }


def make_table(num_tasks=3, num_trials=20, noise=NOISE):
    """Trials of a sweep: the first four, three repeats of the recipe's mixture, and a Dirichlet design."""
    generator = np.random.default_rng(0)
    proportions = np.array(PROPORTIONS[num_tasks])
    recipe = np.roll(proportions, 1)
    bad = np.full(num_tasks, 0.02)
    bad[0] = 1 - bad[1:].sum()
    first = [np.full(num_tasks, 1 / num_tasks), proportions, recipe, bad]
    design = generator.dirichlet(proportions * num_tasks, size=num_trials - 7)
    shares = np.concatenate([first, [recipe] * 3, design])
    values = {
        name: surface.predict(shares)[0] + generator.normal(0, noise, len(shares))
        for name, surface in known_surfaces(num_tasks).items()
    }
    purposes = (*FIRST, *["repeat"] * 3, *["design"] * len(design))
    seeds = (0, 0, 0, 0, 1, 2, 3, *[0] * len(design))
    runs = tuple(f"{number:03}" for number in range(len(shares)))
    return TrialTable(runs, TASKS[:num_tasks], shares, values, purposes, seeds)


def make_metrics(names, weights=None):
    """Directions of the metrics; all have the weight 1 unless given."""
    return {
        name: MetricConfig("min" if "loss" in name else "max", (weights or {}).get(name, 1.0))
        for name in names
    }


def known_view(num_tasks=3, noise=NOISE, bounds=(0.0, 1.0), deviation=0.002):
    """View of a fit whose surfaces are the known ones; the first metric alone is the objective."""
    table, surfaces = make_table(num_tasks), known_surfaces(num_tasks, deviation)
    weights = {name: float(at == 0) for at, name in enumerate(surfaces)}
    known = dict.fromkeys(surfaces, noise) if noise else {}
    limits = np.array([bounds] * num_tasks)
    return FitView(
        SweepFit(table, make_metrics(surfaces, weights), surfaces, limits, known, 1.0, None, "it is a test")
    )


def real_fit(table, bounds=(0.02, 0.9)):
    """Fit of a table by the regression of sweeps."""
    limits = np.array([bounds] * len(table.tasks))
    return fit_table(table, make_metrics(table.metrics), limits, prior=table.shares[2])


@pytest.fixture(scope="session")
def fit():
    return real_fit(make_table())


@pytest.fixture(scope="session")
def view(fit):
    return FitView(fit)


@pytest.fixture(scope="session")
def view_of_five():
    return known_view(5)
