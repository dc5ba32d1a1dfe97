"""Tables of trials with a known surface, and the recorded surfaces of a published study."""

import os
from pathlib import Path

import numpy as np

from audio_lm.sweep.regression.points import Points
from audio_lm.sweep.table import TrialTable

TASKS = ("asr", "aac", "lid")
NEEDS = np.array([[0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]])
NOISE = 0.01


def true_losses(shares):
    """Losses (N, 3) that fall with the logarithm of the shares of the tasks they need."""
    return 3 - 0.3 * np.log(shares @ NEEDS.T + 0.02)


def known_table(count=24, repeats=3, noise=NOISE, seed=0):
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.ones(3), count)
    shares = np.vstack([shares, np.tile([0.5, 0.3, 0.2], (repeats, 1))])
    losses = true_losses(shares) + noise * rng.standard_normal((len(shares), 3))
    return TrialTable(
        runs=tuple(f"{number:03}" for number in range(len(shares))),
        tasks=TASKS,
        shares=shares,
        metrics={f"val_loss/{task}": losses[:, at] for at, task in enumerate(TASKS)},
        purposes=("design",) * count + ("repeat",) * repeats,
        seeds=(0,) * count + tuple(range(1, repeats + 1)),
    )


REGMIX = Path(os.environ.get("AUDIO_LM_DATA", "/nonexistent")) / "regmix"


def plain_points(shares):
    """Inputs of a regression that has only shares."""
    return Points(np.asarray(shares, float), np.empty((len(shares), 0)))


class NobodyIsDead:
    """Liveness of workers that never die."""

    def is_dead(self, worker):
        return False


def finish_trials(ledger, shift=0.0):
    """End all waiting trials of a small sweep with the values of the known surface, less a shift."""
    tasks = ledger.facts.tasks
    while (claim := ledger.claim("test", NobodyIsDead())) is not None:
        shares = np.array([[claim.trial.shares[task] for task in tasks]])
        noise = NOISE * np.random.default_rng(int(claim.trial.name)).standard_normal(3)
        first, second, third = true_losses(shares)[0] + noise - shift
        values = {"val_loss/sec": first, "val_loss/mna": second, "events/acc": 1 - third / 5}
        ledger.end(claim, "finished", "", values)
