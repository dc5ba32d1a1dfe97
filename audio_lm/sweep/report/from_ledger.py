"""Report of a sweep from its folder: the ledger has the results, the sweep file bounds and base recipe."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from audio_lm.common.errors import DataError
from audio_lm.common.names import check_name
from audio_lm.config.load import load_recipe
from audio_lm.data.config import MixtureConfig
from audio_lm.sweep.definition import Sweep
from audio_lm.sweep.facts import SweepFacts
from audio_lm.sweep.fit import SweepFit, fit_table
from audio_lm.sweep.ledger import Ledger
from audio_lm.sweep.report.write import SweepReport
from audio_lm.sweep.results import left_out, table_of
from audio_lm.sweep.space import ShareSpace
from audio_lm.sweep.table import Floats

REPORT = "report"
"""Folder of the report, in that of the sweep."""


def report_of(ledger: Ledger, sweep: Sweep | None = None) -> SweepReport:
    """Fit the finished trials of a sweep.

    Args:
        sweep: gives the bounds of the shares, and the full-size recipe whose mixture is to be written; None for the base
            recipe without bounds.

    Raises:
        DataError: the sweep varies no shares, or too few trials are finished.
    """
    state, facts = ledger.state(), ledger.facts
    if len(facts.tasks) < 2:
        raise DataError(
            f"{ledger.folder}: the sweep varies the shares of {len(facts.tasks)} tasks -- expected two or more for a report -- "
            f"read the results of single settings with `audio-lm sweep status`"
        )
    space = _space(facts, sweep)
    fit = fit_table(table_of(ledger), facts.metrics, space.bounds, prior=_prior(space))
    fit = replace(fit, left_out=(*fit.left_out, *left_out(state)))
    name = sweep.name if sweep else facts.name
    return SweepReport(fit, name, _best_mixture(fit, space, sweep))


def _space(facts: SweepFacts, sweep: Sweep | None) -> ShareSpace:
    if sweep is not None and sweep.shares is not None:
        return sweep.shares
    recipe = load_recipe(facts.recipe, facts.overrides, trusts_code=facts.trusts_code).recipe
    zeros, ones = (0.0,) * len(facts.tasks), (1.0,) * len(facts.tasks)
    return ShareSpace(facts.stage, facts.tasks, recipe.stages[facts.stage].mixture, zeros, ones)


def _prior(space: ShareSpace) -> Floats:
    """Shares of the recipe's own weights (K)."""
    own = space.of_recipe
    return np.array([own[name] for name in space.names])


def _best_mixture(fit: SweepFit, space: ShareSpace, sweep: Sweep | None) -> MixtureConfig | None:
    """Mixture with the recommended shares, of the full-size recipe if the trials match one."""
    if fit.best is None:
        return None
    point = space.with_shares(dict(zip(fit.table.tasks, fit.best.shares.tolist(), strict=True)))
    return sweep.full.mixture(point) if sweep is not None and sweep.full is not None else point


def mixture_path(conf: Path, name: str) -> Path:
    """File of a mixture in a folder ``conf/``.

    Raises:
        RecipeError: the name is not that of a file.
    """
    check_name("mixture", name)
    return conf / "mixture" / f"{name}.yaml"
