import numpy as np

from audio_lm.sweep.report.points import along
from audio_lm.sweep.report.slices import slice_of, slices_figure
from audio_lm.tracking.report.figures import figure_png
from tests.sweep.report.conftest import known_view


def test_a_slice_stays_within_the_bounds_and_has_the_surface_on_it(view):
    shares = view.fit.best.shares
    curve = slice_of(view, "val_loss/lid", 1, shares)
    points = along(shares, 1, curve.shares)
    low, high = view.fit.bounds.T
    assert (points >= low - 1e-9).all()
    assert (points <= high + 1e-9).all()
    np.testing.assert_allclose(curve.mean, view.predict("val_loss/lid", points)[0])
    np.testing.assert_allclose(curve.half_width, 1.96 * view.predict("val_loss/lid", points)[1])


def test_a_fixed_share_has_no_slice():
    view = known_view(bounds=(1 / 3, 1 / 3))
    assert slice_of(view, "val_loss/asr", 0, np.full(3, 1 / 3)) is None


def test_there_is_a_panel_for_every_metric_and_task(view):
    figure = slices_figure(view)
    assert len(figure.axes) == len(view.names) * len(view.tasks)
    assert "through the mixture 'best'" in figure.get_suptitle()
    assert figure_png(figure).startswith(b"\x89PNG")
