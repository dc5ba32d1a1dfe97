"""Report from the results of a sweep, or from two tables of any program."""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from audio_lm.common.errors import UserError
from audio_lm.common.names import check_name
from audio_lm.common.protocols import Report
from audio_lm.config.resources import OWN
from audio_lm.data.config import MixtureConfig
from audio_lm.sweep.definition import Sweep
from audio_lm.sweep.fit import SweepFit, fit_table
from audio_lm.sweep.ledger import Ledger
from audio_lm.sweep.report.write import SweepReport, write_report
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


def write_last_report(ledger: Ledger, report: Report) -> list[Path]:
    """Write the report after the last trial of a sweep; returns its files.

    Args:
        report: called with the reason if there can be no report, such as too few trials or a package that is missing.
    """
    try:
        return write_report(report_of_sweep(ledger), ledger.folder / REPORT)
    except UserError as error:
        report(f"no report: {error}")
        return []


def mixture_path(name: str) -> Path:
    """File of a mixture in ``conf/`` of the working folder.

    Raises:
        RecipeError: the name is not that of a file.
    """
    check_name("mixture", name)
    return OWN / "conf" / "mixture" / f"{name}.yaml"


def train_command(ledger: Ledger, report: SweepReport, mixture: str) -> str:
    """Command that trains with the best mixture and the best settings.

    Args:
        mixture: name of the mixture in ``conf/mixture/``.
    """
    facts = ledger.facts
    settings = [f"{key}={json.dumps(value)}" for key, value in report.view.settings.items()]
    return shlex.join(
        ["audio-lm", "train", facts.recipe, f"stages.{facts.stage}.mixture={mixture}", *settings]
    )


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
