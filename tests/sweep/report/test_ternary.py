import sys

import pytest

from audio_lm.common.errors import UserError
from audio_lm.sweep.report.ternary import ternary_figure
from audio_lm.tracking.report.figures import figure_png


@pytest.mark.slow
def test_there_is_a_map_for_the_objective_and_every_metric(view):
    figure = ternary_figure(view)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == [view.title(name) for name in view.names]
    assert figure_png(figure).startswith(b"\x89PNG")


def test_three_corners_need_three_tasks(view_of_five):
    with pytest.raises(ValueError, match="5 tasks"):
        ternary_figure(view_of_five)


def test_a_missing_mpltern_is_named_with_its_extra(view, monkeypatch):
    monkeypatch.setitem(sys.modules, "mpltern", None)
    with pytest.raises(UserError, match=r"audio-lm\[sweep\]"):
        ternary_figure(view)
