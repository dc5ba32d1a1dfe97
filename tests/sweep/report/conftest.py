"""A fit with surfaces of known form."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from audio_lm.sweep.config import MetricConfig
from audio_lm.sweep.fit import Recommendation, SweepFit
from audio_lm.sweep.table import TrialTable

NOISE = 0.01
FIRST = ("uniform", "proportional", "recipe", "bad")
PROPORTIONS = {3: (0.55, 0.3, 0.15), 5: (0.35, 0.25, 0.2, 0.12, 0.08)}


@dataclass(frozen=True)
class LogSurface:
    """Loss that falls with the logarithm of the share of one task, and rises slowly with that of another."""

    metric: str
    task: int
    other: int
    scale: float = 0.25
    sign: float = 1.0
    model: str = "gp"
    rank_correlation: float = 0.86
    leave_one_out: float = 0.9

    def predict(self, shares):
        own, other = shares[:, self.task], shares[:, self.other]
        mean = self.sign * (1.0 - self.scale * np.log(own + 0.05) + 0.3 * self.scale * other)
        return mean, 0.004 + 0.02 * np.abs(own - 0.33)


def make_fit(num_tasks=3, num_trials=27, noise=NOISE, seed=0):
    """Fit of a sweep over 3 or 5 tasks: a loss for each task but the last, and an accuracy of the last one."""
    tasks = ("asr", "lid", "sec", "mna", "ks")[:num_tasks]
    generator = np.random.default_rng(seed)
    proportions = np.array(PROPORTIONS[num_tasks])
    recipe = np.roll(proportions, 1)
    bad = np.eye(num_tasks)[0] * 0.94 + 0.06 / num_tasks
    first = [np.full(num_tasks, 1 / num_tasks), proportions, recipe, bad / bad.sum()]
    design = generator.dirichlet(proportions * num_tasks, size=num_trials - len(first) - 3)
    shares = np.concatenate([first, [recipe] * 3, design])
    names = [f"val_loss/{task}" for task in tasks[:-1]] + [f"events_{tasks[-1]}/acc"]
    surfaces = {
        name: LogSurface(name, at, (at + 1) % num_tasks, *((0.25, 1.0) if "loss" in name else (0.2, -1.0)))
        for at, name in enumerate(names)
    }
    values = {
        name: surface.predict(shares)[0] + generator.normal(0, noise or NOISE, len(shares))
        for name, surface in surfaces.items()
    }
    table = TrialTable(
        tuple(f"{number:03}" for number in range(len(shares))),
        tasks,
        shares,
        values,
        (*FIRST, *["repeat"] * 3, *["design"] * len(design)),
        tuple([0] * 4 + [1, 2, 3] + [0] * len(design)),
    )
    metrics = {name: MetricConfig("min" if "loss" in name else "max") for name in names}
    bounds = np.array([[0.02, 0.9]] * num_tasks)
    fit = SweepFit(table, metrics, surfaces, bounds, dict.fromkeys(names, noise) if noise else {}, 0.86, None)
    best = np.full(num_tasks, 1 / num_tasks) + np.linspace(0.06, -0.06, num_tasks)
    per_metric = {}
    for name, surface in surfaces.items():
        mean, deviation = (float(array[0]) for array in surface.predict(best[None]))
        per_metric[name] = (mean, mean - 1.96 * deviation, mean + 1.96 * deviation)
    return replace(fit, best=Recommendation(best, 0.5, (0.48, 0.52), per_metric))


@pytest.fixture
def fit():
    return make_fit()


@pytest.fixture
def fit_of_five():
    return make_fit(num_tasks=5, num_trials=34)
