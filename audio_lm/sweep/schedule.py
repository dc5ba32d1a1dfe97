"""Early and late fits of a sweep, and a schedule of shares where their best mixtures differ.

Every trial's metrics over steps are kept, so a fit on a third of the steps costs nothing. If its ranking is that of the
final one, later trials may be shorter; if its best mixture is better early and worse at the end than the final one, by more
than the noise, weights that change during training are worth a trial. Source: arXiv:2606.18663.

Shapes: N trials, K tasks or groups.
"""

from dataclasses import dataclass, replace

import numpy as np

from audio_lm.common.errors import DataError
from audio_lm.sweep.fit import SweepFit, fit_table
from audio_lm.sweep.noise import NAMED_SPREADS
from audio_lm.sweep.regression.surface import rank_correlation
from audio_lm.sweep.table import Curve, Floats, TrialTable

EARLY = 1 / 3
"""Fraction of a trial's steps at which its early metrics are taken."""


MAX_DISTANCE = 0.1
"""Largest distance of a measurement from the wanted fraction, as a fraction of a trial's steps."""


@dataclass(frozen=True)
class ShareSchedule:
    """Shares of the varied part that change once."""

    fraction: float
    """Fraction of the steps after which the late shares hold."""

    early: Floats  # (K)
    late: Floats  # (K)

    def points(self, tasks: tuple[str, ...], num_steps: int) -> dict[str, list[list[float]]]:
        """Task -> points [step, share] as in ``mixture.schedule``; two points at one step are a jump."""
        step = round(self.fraction * num_steps)
        return {
            task: [[0, early], [step, early], [step, late]]
            for task, early, late in zip(tasks, self.early.tolist(), self.late.tolist(), strict=True)
        }


@dataclass(frozen=True)
class EarlyComparison:
    """Fit on the first part of each trial beside the final one."""

    fraction: float
    early: SweepFit

    agreement: float
    """Rank correlation of the objective of the trials, early and at the end."""

    schedule: ShareSchedule | None
    why_none: str
    """Reason why no schedule is proposed; empty if one is."""


def compare_early(fit: SweepFit, fraction: float = EARLY, seed: int = 0) -> EarlyComparison:
    """Fit the metrics after a fraction of each trial's steps, and propose a schedule if the best mixtures differ.

    Raises:
        DataError: a fitted metric was not measured during the trials.
    """
    names = tuple(fit.surfaces)
    early_table = table_at(fit.table, names, fraction)
    metrics = {name: fit.metrics[name] for name in names}
    early = fit_table(early_table, metrics, fit.bounds, prior=fit.prior, seed=seed)
    one, other = early.measured_objective, fit.measured_objective
    both = np.isfinite(one) & np.isfinite(other)
    schedule, why_none = _schedule(fit, early, fraction)
    return EarlyComparison(fraction, early, rank_correlation(one[both], other[both]), schedule, why_none)


def table_at(table: TrialTable, metrics: tuple[str, ...], fraction: float) -> TrialTable:
    """Table with the values that metrics had after about a fraction of each trial's steps.

    Raises:
        DataError: a metric was not measured during the trials, or not near that fraction.
    """
    if missing := [name for name in metrics if not any(len(one) > 1 for one in table.curves.get(name, ()))]:
        raise DataError(
            f"metrics {missing} were measured only at the end of the trials -- expected values over steps, such as those "
            f"of val_loss/<task> -- leave them out, or validate during training"
        )
    values = {
        name: np.array([_value_at(curve, fraction) for curve in table.curves[name]]) for name in metrics
    }
    if never := [name for name, each in values.items() if not np.isfinite(each).any()]:
        steps = sorted({step for curve in table.curves[never[0]] for step, _ in curve})
        raise DataError(
            f"metrics {never} were measured at the steps {steps}, none of them near {fraction:.2g} of a trial -- expected "
            f"values at most {MAX_DISTANCE:.0%} of the steps away -- choose another fraction, or validate more often"
        )
    return replace(table, metrics=values)


def _value_at(curve: Curve, fraction: float) -> float:
    """Value measured nearest to a fraction of the last step; NaN if it is more than ``MAX_DISTANCE`` of the steps away."""
    if not curve:
        return float("nan")
    last = max(step for step, _ in curve)
    step, value = min(curve, key=lambda point: abs(point[0] - fraction * last))
    return value if abs(step - fraction * last) <= MAX_DISTANCE * last else float("nan")


def _schedule(fit: SweepFit, early: SweepFit, fraction: float) -> tuple[ShareSchedule | None, str]:
    if fit.best is None or early.best is None:
        which = "final" if fit.best is None else "early"
        return None, f"the {which} fit recommends no mixture: {fit.why_none or early.why_none}"
    if fit.objective_noise is None or early.objective_noise is None:
        return None, "no mixture was repeated, so the noise of a difference is not known"
    both = np.stack([early.best.shares, fit.best.shares])
    gain_early = float(np.diff(early.predict_objective(both)[0])[0])
    gain_late = -float(np.diff(fit.predict_objective(both)[0])[0])
    for name, gain, noise in (
        ("early", gain_early, early.objective_noise),
        ("late", gain_late, fit.objective_noise),
    ):
        if gain <= NAMED_SPREADS * noise:
            return None, (
                f"the best {name} mixture is better than the other by {gain:.4g} of the objective only; "
                f"{NAMED_SPREADS * noise:.4g} is twice the noise"
            )
    return ShareSchedule(fraction, early.best.shares, fit.best.shares), ""
