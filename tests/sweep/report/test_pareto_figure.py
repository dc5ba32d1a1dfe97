from dataclasses import replace

import pytest

from audio_lm.sweep.report.pareto_figure import MAX_PAIRS, pareto_figure
from audio_lm.sweep.report.view import FitView
from audio_lm.tracking.report.figures import figure_png


@pytest.mark.slow
def test_there_is_a_panel_for_each_pair_up_to_a_limit(view, view_of_five):
    assert len(pareto_figure(view).axes) == 3
    figure = pareto_figure(view_of_five)
    assert len(figure.axes) == MAX_PAIRS
    assert figure.get_suptitle() == "4 more pairs are on the page"
    assert figure_png(figure).startswith(b"\x89PNG")


def test_axes_of_scores_are_turned_so_that_better_is_left_and_below(view):
    panels = {axes.get_ylabel(): axes for axes in pareto_figure(view).axes}
    assert panels["events_sec/acc (larger is better)"].yaxis_inverted()
    assert not panels["val_loss/lid (smaller is better)"].yaxis_inverted()


def test_one_metric_has_no_front(fit):
    only = {name: fit.surfaces[name] for name in list(fit.surfaces)[:1]}
    with pytest.raises(ValueError, match="needs two"):
        pareto_figure(FitView(replace(fit, surfaces=only)))
