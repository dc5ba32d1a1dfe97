"""Results of a sweep's trials: values and curves of the watched metrics, from the folders of their runs.

A metric ``<benchmark>/<metric>`` is a score of the run; every other one, such as ``val_loss/<task>``, a curve of the varied
stage. Scores are read here without the package of metrics, which takes seconds to import.
"""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from audio_lm.common.errors import DataError
from audio_lm.common.files import read_json
from audio_lm.sweep.facts import SweepFacts
from audio_lm.sweep.ledger import Ledger, LedgerState, TrialState
from audio_lm.sweep.table import Curve, TrialTable
from audio_lm.tracking.event_log.curves import read_curves
from audio_lm.tracking.event_log.names import safe_name

SCORES = "scores.json"
OTHER_SCALE = frozenset({"verify", "expert"})
"""Purposes of trials whose values are not comparable with those of the others."""


def curves_of(run: Path, facts: SweepFacts) -> dict[str, list[tuple[int, float]]]:
    """Watched metrics over the steps of the varied stage: metric -> steps and values, in order; without those at step 0.

    Args:
        run: folder of a run.
    """
    read = read_curves(run / "stages" / facts.stage)
    curves = {
        name: [point for point in read.get(safe_name(name), []) if point[0] > 0] for name in facts.metrics
    }
    return {name: curve for name, curve in curves.items() if curve}


def values_of(run: Path, facts: SweepFacts) -> dict[str, float]:
    """Final values of the watched metrics; those that the run did not measure, or not as a number, are missing.

    Raises:
        DataError: the file of scores is damaged.
    """
    scores = read_json(run / SCORES)
    if scores.fault:
        raise DataError(
            f"{run / SCORES} contains no scores ({scores.fault}) -- expected those of a finished run -- compute them again "
            f"from the saved answers with `audio-lm score {run}`"
        )
    last = {name: curve[-1][1] for name, curve in curves_of(run, facts).items()}
    values = {**last, **{name: scores.values[name] for name in facts.metrics if name in scores.values}}
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }


def table_of(ledger: Ledger) -> TrialTable:
    """Finished trials of a sweep with their values and curves, in the order of the ledger.

    Metrics that were added to the file later are read from the runs. Trials of another scale and, in a sweep of shares, those
    without shares are left out; ``left_out`` names them.
    """
    state = ledger.state()
    facts = ledger.facts
    kept = [one for one in state.of("finished") if not _why_left_out(one, facts)]
    curves = [curves_of(ledger.run_folder(one.trial), facts) for one in kept]
    values = [_all_values(ledger.run_folder(one.trial), one, facts) for one in kept]
    keys = list(dict.fromkeys(key for one in kept for key in one.trial.settings))
    return TrialTable(
        runs=tuple(one.trial.name for one in kept),
        tasks=facts.tasks,
        shares=np.array([[one.trial.shares.get(task, 0.0) for task in facts.tasks] for one in kept]).reshape(
            len(kept), len(facts.tasks)
        ),
        metrics={
            name: np.array([known.get(name, math.nan) for known in values], dtype=float)
            for name in facts.metrics
        },
        purposes=tuple(one.trial.purpose for one in kept),
        seeds=tuple(one.trial.seed for one in kept),
        settings={key: [one.trial.settings.get(key) for one in kept] for key in keys},
        curves=_curves(curves, facts.metrics),
    )


def _all_values(run: Path, one: TrialState, facts: SweepFacts) -> Mapping[str, float]:
    """Values of a trial; metrics that the file watches since the trial has ended are read from its run."""
    is_complete = facts.metrics.keys() <= one.values.keys()
    return one.values if is_complete else {**values_of(run, facts), **one.values}


def left_out(state: LedgerState) -> list[str]:
    """Sentences about the trials that ``table_of`` leaves out."""
    assert state.facts is not None, "a state with facts"
    lines = [f"trial {one.trial.name} has not ended" for one in state.of("waiting", "running")]
    lines += [
        f"trial {one.trial.name} was {one.status}: {one.reason}" for one in state.of("failed", "pruned")
    ]
    lines += [
        f"trial {one.trial.name} {why}"
        for one in state.of("finished")
        if (why := _why_left_out(one, state.facts))
    ]
    return lines


def _why_left_out(one: TrialState, facts: SweepFacts) -> str:
    if one.trial.purpose in OTHER_SCALE:
        return f"({one.trial.purpose}) is not comparable with the others"
    return "has no shares" if facts.tasks and not one.trial.shares else ""


def _curves(
    curves: list[dict[str, list[tuple[int, float]]]], names: Mapping[str, object]
) -> dict[str, list[Curve]]:
    """Metric -> curve of each trial; a metric that no trial has as a curve is missing."""
    return {
        name: [curve.get(name, []) for curve in curves]
        for name in names
        if any(name in curve for curve in curves)
    }
