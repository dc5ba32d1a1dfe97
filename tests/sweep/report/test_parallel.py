from dataclasses import replace

import numpy as np

from audio_lm.sweep.report.parallel import parallel_figure
from audio_lm.sweep.report.view import FitView
from audio_lm.tracking.report.figures import figure_png


def lines_of(figure):
    return figure.axes[0].collections[0].get_segments()


def test_every_trial_is_a_line_over_all_tasks_and_metrics(view_of_five):
    figure = parallel_figure(view_of_five)
    segments = lines_of(figure)
    assert len(segments) == len(view_of_five.fit.table)
    assert all(len(line) == 5 + len(view_of_five.names) for line in segments)
    assert figure_png(figure).startswith(b"\x89PNG")


def test_the_better_end_of_a_metric_is_the_top(view):
    heights = np.array([line[:, 1] for line in lines_of(parallel_figure(view))])
    assert heights[-1, 3] == heights[:, 3].max(), "the best objective is drawn last, and highest"


def test_trials_without_a_value_are_counted(view):
    values = {name: column.copy() for name, column in view.fit.table.metrics.items()}
    values["val_loss/asr"][5] = np.nan
    figure = parallel_figure(FitView(replace(view.fit, table=replace(view.fit.table, metrics=values))))
    assert figure.axes[0].get_title(loc="left") == "19 trials, 1 without all measurements left out"
