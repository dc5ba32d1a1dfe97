"""Further trials of a sweep that has results: proposals, and the best mixtures at a larger scale.

Trials are added to the ledger; any worker runs them (`audio-lm sweep work`).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from audio_lm.common.errors import DataError
from audio_lm.sweep.definition import Sweep
from audio_lm.sweep.fit import SweepFit
from audio_lm.sweep.ledger import Ledger, LedgerState
from audio_lm.sweep.proposals import propose
from audio_lm.sweep.regression.surface import REUSED
from audio_lm.sweep.table import Floats, TrialTable
from audio_lm.sweep.trial import Trial
from audio_lm.sweep.verify import top_mixtures

NUM_TRIES = 4
"""Proposals for each wanted trial; some repeat a source more often than the sweep allows."""


def add_proposals(ledger: Ledger, sweep: Sweep, fit: SweepFit, count: int) -> list[Trial]:
    """Add the most promising mixtures to a ledger; those that are not run yet are not proposed again.

    Raises:
        DataError: no proposal is within the limits of the sweep.
    """
    settings = _settings(fit)
    with ledger.adding() as (state, chosen):
        waiting = _shares_without_results(state, fit)
        points = propose(fit, NUM_TRIES * count, waiting=waiting, seed=len(state.trials))
        named = [dict(zip(fit.table.tasks, point.tolist(), strict=True)) for point in points]
        allowed = [shares for shares in named if sweep.allows(shares)][:count]
        for shares in allowed:
            chosen.append(sweep.trial(state.next_name(after=len(chosen)), "proposed", shares, settings))
    if not chosen:
        raise DataError(
            f"{ledger.folder}: none of {len(named)} proposals is within the bounds and repetition limits of the sweep -- "
            f"expected one or more -- allow more with vary.shares.max_epochs or wider bounds"
        )
    return chosen


def add_verification(ledger: Ledger, sweep: Sweep, fit: SweepFit, top: int) -> list[Trial]:
    """Add the best mixtures and the recipe's own weights with the overrides of ``verify``; those in the ledger are kept.

    Raises:
        DataError: the sweep file has no overrides of ``verify``, or nothing is recommended.
    """
    if not sweep.config.verify:
        raise DataError(
            f"sweep {sweep.name}: `verify` is empty -- expected overrides that make a trial larger, such as "
            f"[stages.{sweep.stage}.steps=1000] -- add them to the sweep file; they do not change its trials"
        )
    if fit.best is None:
        raise DataError(f"sweep {sweep.name}: there is no best mixture to verify: {fit.why_none}")
    own = np.array([sweep.shares.of_recipe[name] for name in fit.table.tasks]) if sweep.shares else None
    points = [*top_mixtures(fit, top), *([] if own is None else [own])]
    with ledger.adding() as (state, chosen):
        present = {one.trial.overrides for one in state.trials.values()}
        for point in points:
            shares = dict(zip(fit.table.tasks, point.tolist(), strict=True))
            trial = sweep.trial(state.next_name(after=len(chosen)), "verify", shares, _settings(fit))
            trial = replace(trial, overrides=(*trial.overrides, *sweep.config.verify))
            if trial.overrides not in present:
                present.add(trial.overrides)
                chosen.append(trial)
    return chosen


def verified_table(ledger: Ledger, tasks: Sequence[str]) -> TrialTable:
    """Finished trials at the larger scale."""
    state = ledger.state()
    kept = [one for one in state.of("finished") if one.trial.purpose == "verify"]
    return TrialTable(
        runs=tuple(one.trial.name for one in kept),
        tasks=tuple(tasks),
        shares=np.array([[one.trial.shares[task] for task in tasks] for one in kept]).reshape(-1, len(tasks)),
        metrics={
            name: np.array([one.values.get(name, np.nan) for one in kept], dtype=float)
            for name in ledger.facts.metrics
        },
    )


def _settings(fit: SweepFit) -> dict[str, object] | None:
    """Settings of further trials: those of the best mixture."""
    return {key: value for key, value in fit.settings.items() if key != REUSED} or None


def _shares_without_results(state: LedgerState, fit: SweepFit) -> Floats:
    """Shares (N, K) of trials that wait or run."""
    waiting = [one.trial.shares for one in state.of("waiting", "running") if one.trial.shares]
    return np.array([[shares[task] for task in fit.table.tasks] for shares in waiting]).reshape(
        -1, len(fit.table.tasks)
    )
