from dataclasses import replace

import numpy as np

from audio_lm.sweep.report.tables import (
    metric_table,
    mixture_table,
    shares_text,
    trial_table,
)
from audio_lm.sweep.report.view import FitView


def test_trials_are_ordered_by_the_objective_and_have_a_column_per_task_and_metric(view):
    header, *rows = trial_table(view)
    assert header == ["trial", "purpose", "seed", "asr %", "lid %", "sec %", *view.names]
    at = header.index("objective")
    values = [float(row[at]) for row in rows]
    assert values == sorted(values)
    assert len(rows) == len(view.fit.table)


def test_a_trial_without_a_value_comes_last_with_an_empty_cell(view):
    values = {name: column.copy() for name, column in view.fit.table.metrics.items()}
    values["val_loss/asr"][0] = np.nan
    header, *rows = trial_table(FitView(replace(view.fit, table=replace(view.fit.table, metrics=values))))
    assert rows[-1][0] == "000"
    assert rows[-1][header.index("val_loss/asr")] == rows[-1][header.index("objective")] == ""


def test_a_table_from_files_has_no_empty_columns(view):
    bare = FitView(replace(view.fit, table=replace(view.fit.table, purposes=(), seeds=())))
    assert trial_table(bare)[0][:2] == ["trial", "asr %"]


def test_mixtures_stand_side_by_side(view):
    header, *rows = mixture_table(view)
    assert header == ["", "best", "recipe", "uniform", "proportional"]
    assert rows[0] == ["asr %", f"{100 * view.fit.best.shares[0]:.1f}", "15.0", "33.3", "55.0"]
    assert [row[0] for row in rows[3:]] == list(view.names)


def test_metrics_have_their_regression_and_noise(view):
    row = dict(zip(*(metric_table(view)[at] for at in (0, 1)), strict=True))
    assert row["metric"] == "val_loss/asr"
    assert row["regression"] == view.fit.surfaces["val_loss/asr"].model
    assert row["noise"] == f"{view.noise('val_loss/asr'):.2g}"


def test_shares_are_listed_from_the_largest():
    assert shares_text(("asr", "lid"), np.array([0.25, 0.75])) == "lid 75.0 %, asr 25.0 %"
