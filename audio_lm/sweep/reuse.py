"""Trials of an earlier sweep as part of a new one, after a task was added.

An earlier trial is a mixture in which the new task has share 0. Everything else that differs between the two sweeps (the
full mixture, data, budget) is one more input of each regression, so that only the shape of the old surface is reused.
Source: reuse of mixtures in Olmix (github.com/allenai/olmix).
"""

from dataclasses import replace
from typing import Any

import numpy as np

from audio_lm.common.errors import DataError, unknown
from audio_lm.sweep.regression.surface import REUSED
from audio_lm.sweep.table import TrialTable

PREFIX = "reused/"


def add_reused(table: TrialTable, old: TrialTable) -> TrialTable:
    """The trials of a table, then those of an earlier sweep as ``reused/<name>``.

    Raises:
        DataError: a task or varied key of the earlier sweep is not part of the new one, or they share no metric.
    """
    for task in old.tasks:
        if task not in table.tasks:
            raise DataError(unknown("task of the earlier sweep", task, table.tasks, see="the new sweep"))
    if old.settings.keys() != table.settings.keys():
        raise DataError(
            f"the earlier sweep varies the keys {sorted(old.settings)}, the new one {sorted(table.settings)} -- expected "
            f"the same ones -- fit the two separately"
        )
    if not old.metrics.keys() & table.metrics.keys():
        raise DataError(
            f"the earlier sweep measured {sorted(old.metrics)}, the new one {sorted(table.metrics)} -- expected a common metric"
        )
    shares = np.zeros((len(old), len(table.tasks)))
    for column, task in enumerate(table.tasks):
        if task in old.tasks:
            shares[:, column] = old.shares[:, old.tasks.index(task)]
    missing = np.full(len(old), np.nan)
    settings: dict[str, list[Any]] = {
        key: [*values, *old.settings[key]] for key, values in table.settings.items()
    }
    return replace(
        table,
        runs=(*table.runs, *(PREFIX + run for run in old.runs)),
        shares=np.vstack([table.shares, shares]),
        metrics={
            name: np.concatenate([values, old.metrics.get(name, missing)])
            for name, values in table.metrics.items()
        },
        purposes=_both(table.purposes, old.purposes, table, old, ""),
        seeds=_both(table.seeds, old.seeds, table, old, 0),
        settings=settings | {REUSED: [False] * len(table) + [True] * len(old)},
        curves={
            name: [*curves, *old.curves.get(name, [()] * len(old))] for name, curves in table.curves.items()
        },
    )


def _both(
    values: tuple[Any, ...], others: tuple[Any, ...], table: TrialTable, old: TrialTable, default: Any
) -> tuple[Any, ...]:
    """Values of both tables; empty if neither has any."""
    if not values and not others:
        return ()
    return (*(values or (default,) * len(table)), *(others or (default,) * len(old)))
