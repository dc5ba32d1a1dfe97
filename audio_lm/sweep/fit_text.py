"""Fit of a sweep as lines of text and as a JSON table."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from audio_lm.sweep.fit import SweepFit
from audio_lm.sweep.noise import ceiling_of, smallest_effects
from audio_lm.sweep.schedule import EarlyComparison
from audio_lm.sweep.table import Floats

LINE = "{:<28}{:>12}{:>9}{:>9}{:>10}{:>11}{:>9}"


def fit_lines(fit: SweepFit) -> list[str]:
    """Regression of each metric, the recommended mixture, and sentences about what was left out."""
    trials, mixtures = len(fit.table), len(np.unique(fit.table.shares.round(6), axis=0))
    lines = [
        f"{trials} trials, {mixtures} mixtures of {len(fit.table.tasks)} tasks",
        LINE.format("metric", "regression", "5-fold", "1 out", "noise", "named from", "ceiling"),
    ]
    effects = smallest_effects(fit.noise)
    for name, surface in fit.surfaces.items():
        noise = fit.noise.get(name)
        lines.append(
            LINE.format(
                name,
                surface.model,
                f"{surface.rank_correlation:.2f}",
                f"{surface.leave_one_out:.2f}",
                "-" if noise is None else f"{noise:.3g}",
                "-" if noise is None else f"{effects[name]:.3g}",
                "-" if noise is None else f"{ceiling_of(fit.table.metrics[name], noise):.2f}",
            )
        )
    lines.append(f"trust (5-fold rank correlation of the objective): {fit.trust:.2f}")
    return [*lines, *_best_lines(fit), *(f"note: {sentence}" for sentence in fit.left_out)]


def early_lines(found: EarlyComparison, fit: SweepFit) -> list[str]:
    """Comparison of the early and the final fit, and a schedule if one is proposed."""
    lines = [
        f"after {found.fraction:.0%} of the steps: rank correlation with the end {found.agreement:.2f}, trust "
        f"{found.early.trust:.2f}"
    ]
    if found.schedule is None:
        return [*lines, f"no schedule of weights: {found.why_none}"]
    early, late = (named_shares(fit.table.tasks, one) for one in (found.schedule.early, found.schedule.late))
    return [*lines, f"schedule to try: until {found.fraction:.0%} of the steps {early}; then {late}"]


def proposal_lines(tasks: tuple[str, ...], points: Floats, fit: SweepFit) -> list[str]:
    """One line per proposed mixture (N, K), with its prediction."""
    mean, deviation = fit.predict_objective(points)
    return [
        f"next: {named_shares(tasks, point)}; objective {value:.4g} +- {spread:.2g}"
        for point, value, spread in zip(points, mean, deviation, strict=True)
    ]


def fit_json(fit: SweepFit) -> dict[str, Any]:
    """Fit as a JSON table."""
    best = fit.best
    return {
        "trials": len(fit.table),
        "trust": fit.trust,
        "metrics": {
            name: {
                "model": surface.model,
                "rank_correlation": surface.rank_correlation,
                "leave_one_out": surface.leave_one_out,
                "noise": fit.noise.get(name),
            }
            for name, surface in fit.surfaces.items()
        },
        "best": None
        if best is None
        else {
            "shares": dict(zip(fit.table.tasks, best.shares.tolist(), strict=True)),
            "settings": dict(fit.settings),
            "objective": best.objective,
            "interval": list(best.interval),
            "metrics": {name: list(values) for name, values in best.per_metric.items()},
        },
        "why_none": fit.why_none,
        "left_out": list(fit.left_out),
    }


def named_shares(tasks: tuple[str, ...], shares: Floats) -> str:
    """Shares of tasks, largest first.

    >>> named_shares(("asr", "aac"), np.array([0.25, 0.75]))
    'aac 0.750, asr 0.250'
    """
    pairs: Mapping[str, float] = dict(zip(tasks, shares.tolist(), strict=True))
    return ", ".join(f"{task} {share:.3f}" for task, share in sorted(pairs.items(), key=lambda one: -one[1]))


def _best_lines(fit: SweepFit) -> list[str]:
    if fit.best is None:
        return [f"no recommendation: {fit.why_none}"]
    low, high = fit.best.interval
    lines = [f"best mixture: {named_shares(fit.table.tasks, fit.best.shares)}"]
    if fit.settings:
        lines.append("settings: " + ", ".join(f"{key}={value}" for key, value in fit.settings.items()))
    lines.append(
        f"objective of a run with it: {fit.best.objective:.4g}, 95 % interval of any seed {low:.4g} to {high:.4g}"
    )
    lines += _reference_lines(fit)
    for name, (mean, smallest, largest) in fit.best.per_metric.items():
        lines.append(f"  {name}: {mean:.4g}, {smallest:.4g} to {largest:.4g}")
    return lines


def _reference_lines(fit: SweepFit) -> list[str]:
    """Predicted objective of the uniform mixture and of the recipe's own weights."""
    size = len(fit.table.tasks)
    points = {"uniform mixture": np.full(size, 1 / size)}
    if fit.prior is not None:
        points["recipe's own weights"] = fit.prior
    mean, _ = fit.predict_objective(np.stack([*points.values()]))
    return [f"  {name}: {value:.4g}" for name, value in zip(points, mean, strict=True)]
