"""Report from the results of a sweep, or from two tables of any program."""

from collections.abc import Sequence
from pathlib import Path

from audio_lm.common.errors import UserError
from audio_lm.common.names import check_name
from audio_lm.config.load import resource_folder
from audio_lm.data.config import MixtureConfig
from audio_lm.sweep.definition import Sweep
from audio_lm.sweep.fit import SweepFit, fit_table
from audio_lm.sweep.ledger import Ledger
from audio_lm.sweep.report.write import SweepReport
from audio_lm.sweep.sources import fit_sweep, metrics_from, sweep_of
from audio_lm.sweep.table import TrialTable

REPORT = "report"
"""Folder of the report, in that of the sweep."""


def report_of_sweep(ledger: Ledger) -> SweepReport:
    """Fit the finished trials of a sweep.

    Raises:
        UserError: the sweep file has changed, varies no shares, or too few trials are finished.
    """
    sweep = sweep_of(ledger)
    fit = fit_sweep(ledger, sweep)
    return SweepReport(fit, sweep.name, _best_mixture(fit, sweep))


def report_of_table(table: TrialTable, name: str, metrics: Sequence[str]) -> SweepReport:
    """Fit a table.

    Args:
        metrics: ``NAME=min`` or ``NAME=max``, with ``*WEIGHT`` after it; empty for all, smaller is better.

    Raises:
        DataError: an unknown metric, or too few trials.
    """
    return SweepReport(fit_table(table, metrics_from(metrics, table)), name)


def mixture_path(name: str) -> Path:
    """File of a mixture in ``conf/``.

    Raises:
        RecipeError: the name is not that of a file.
    """
    check_name("mixture", name)
    return resource_folder("conf") / "mixture" / f"{name}.yaml"


def check_has_recipe(place: str, mixture: str | None) -> None:
    """Refuse to write the mixture of a table, which has no sources.

    Raises:
        UserError: a mixture is wanted.
    """
    if mixture is not None:
        raise UserError(
            f"--mixture {mixture}: {place} has tables without a recipe, so the sources of the tasks are not known -- expected "
            f"the folder of a sweep -- leave the option out, and copy the shares from the report"
        )


def _best_mixture(fit: SweepFit, sweep: Sweep) -> MixtureConfig | None:
    """Mixture with the recommended shares, of the full-size recipe if the trials match one."""
    if fit.best is None or sweep.shares is None:
        return None
    point = sweep.shares.with_shares(dict(zip(fit.table.tasks, fit.best.shares.tolist(), strict=True)))
    return point if sweep.full is None else sweep.full.mixture(point)
