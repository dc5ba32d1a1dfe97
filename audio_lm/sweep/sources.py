"""Fits from the places where results are: the folder of a sweep, or ``ratios.csv`` and ``metrics.csv`` of any program."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from audio_lm.common.errors import DataError, RecipeError, unknown
from audio_lm.sweep.config import MetricConfig
from audio_lm.sweep.experts import features_from
from audio_lm.sweep.fit import SweepFit, fit_table
from audio_lm.sweep.ledger import FILE, Ledger
from audio_lm.sweep.results import left_out, table_of
from audio_lm.sweep.reuse import add_reused
from audio_lm.sweep.start import find_sweep
from audio_lm.sweep.table import METRICS, RATIOS, TRIALS, Floats, TrialTable

if TYPE_CHECKING:
    from audio_lm.sweep.definition import Sweep


def sweep_of(ledger: Ledger) -> "Sweep":
    """Checked sweep file that a ledger was made from.

    Raises:
        RecipeError: the file has problems, or other trials would follow from it now.
    """
    from audio_lm.sweep.load import load_sweep

    facts = ledger.facts
    sweep = load_sweep(facts.file, facts.typed, trusts_code=facts.trusts_code)
    if f"{sweep.name}-{sweep.signature}" != facts.name:
        raise RecipeError(
            f"sweep file {facts.file} is now {sweep.name}-{sweep.signature} -- expected {facts.name}, as bounds and further "
            f"trials follow from the file -- undo the change, or start a new sweep"
        )
    return sweep


def fit_sweep(
    ledger: Ledger, sweep: "Sweep", reused: TrialTable | None = None, cheaper: TrialTable | None = None
) -> SweepFit:
    """Fit the finished trials of a sweep.

    Args:
        reused: trials of an earlier sweep over some of the tasks.
        cheaper: scores on mixtures of the same tasks that help the regression; see ``experts``.

    Raises:
        DataError: the sweep varies no shares, or too few trials are finished.
    """
    facts, space = ledger.facts, sweep.shares
    if space is None:
        raise DataError(
            f"{ledger.folder}: the sweep varies no shares -- expected a simplex of tasks or groups to fit -- read the results "
            f"of single settings with `audio-lm sweep status`"
        )
    table = table_of(ledger)
    if reused is not None:
        table = add_reused(table, reused)
    prior = np.array([space.of_recipe[name] for name in space.names])
    features = None if cheaper is None else features_from(cheaper, table.tasks, facts.metrics)
    fit = fit_table(table, facts.metrics, space.bounds, prior=prior, features=features)
    return replace(fit, left_out=(*fit.left_out, *left_out(ledger.state())))


def read_results(place: str, metrics_file: Path | None = None) -> Ledger | TrialTable:
    """Ledger of a sweep, or the table of two files.

    Args:
        place: folder or name of a sweep, a folder with the two files, or a file of shares.
        metrics_file: file of metrics, if ``place`` is a file of shares.

    Raises:
        UserError: there is neither.
    """
    path = Path(place)
    if metrics_file is not None:
        return TrialTable.read(path, metrics_file)
    if path.is_file() and path.suffix == ".csv":
        raise DataError(
            f"{path}: a file of shares alone -- expected also one of metrics -- add it as the second argument"
        )
    if not (path / FILE).is_file() and (path / RATIOS).is_file():
        trials = path / TRIALS
        return TrialTable.read(path / RATIOS, path / METRICS, trials if trials.is_file() else None)
    ledger = find_sweep(place)
    ledger.state()
    return ledger


def metrics_from(options: Sequence[str], table: TrialTable) -> dict[str, MetricConfig]:
    """Metrics to fit: all of a table, smaller is better, with the same weight; or those of some options.

    Args:
        options: ``NAME=min`` or ``NAME=max``, with ``*WEIGHT`` after it.

    Raises:
        DataError: an option of another form, or an unknown metric.

    >>> table = TrialTable(("0",), ("asr",), np.ones((1, 1)), {"wer": np.ones(1), "bleu": np.ones(1)})
    >>> metrics_from(["bleu=max*0.5"], table)
    {'bleu': MetricConfig(direction='max', weight=0.5)}
    """
    if not options:
        return {name: MetricConfig() for name in table.metrics}
    return dict(_metric_from(option, table.metrics) for option in options)


def _metric_from(option: str, known: Mapping[str, Floats]) -> tuple[str, MetricConfig]:
    name, _, rest = option.rpartition("=")
    direction, _, weight = rest.partition("*")
    if name and name not in known:
        raise DataError(unknown("metric", name, known, see="the header of the file of metrics"))
    try:
        number = float(weight or 1)
    except ValueError:
        number = -1.0
    if not name or direction not in ("min", "max") or not 0 <= number < np.inf:
        raise DataError(
            f"--metric {option}: not a metric with its direction -- expected NAME=min, NAME=max or NAME=min*WEIGHT"
        )
    return name, MetricConfig("min" if direction == "min" else "max", number)
