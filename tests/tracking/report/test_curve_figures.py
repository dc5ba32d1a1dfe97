import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from audio_lm.tracking.report.curve_figures import (
    BINS,
    Margins,
    bars_figure,
    bin_edges,
    boxes_figure,
    curves_figure,
    histogram_figure,
    margins_figure,
)
from audio_lm.tracking.report.figures import figure_png

CURVE = [(1, 3.0), (5, 2.0)]


def test_every_panel_has_its_curves_and_units():
    figure = curves_figure({"loss, nats": {"asr": CURVE, "all": CURVE}, "margin": {"training": CURVE}})
    first, second = figure.axes
    assert [line.get_label() for line in first.lines] == ["asr", "all"]
    assert first.lines[0].get_xydata().tolist() == [[1, 3], [5, 2]]
    assert (first.get_xlabel(), first.get_title(loc="left")) == ("step", "loss, nats")
    assert second.get_legend() is None, "of one curve"


def test_bars_stand_for_the_values_with_their_notes():
    rows = {"asr": {"clips": 40.0, "tokens": 70.0}, "sec": {"clips": 60.0, "tokens": 30.0}}
    axes = bars_figure(rows, unit="percent", notes={"sec": "2 epochs"}).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [40, 60, 70, 30]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["asr", "sec"]
    assert [text.get_text() for text in axes.texts] == ["2 epochs"]
    assert axes.get_xlabel() == "percent"


@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=200))
def test_bins_are_few_and_cover_all_but_the_outermost_values(values):
    edges = bin_edges(np.array(values))
    assert 2 <= len(edges) <= BINS + 3
    low, high = np.percentile(values, [0.5, 99.5])
    slack = 1e-6 * (1 + abs(low) + abs(high))
    assert edges[0] <= low + slack
    assert high - slack <= edges[-1]


def test_a_histogram_counts_every_finite_value():
    axes = histogram_figure({"start": [*range(100), float("inf")], "end": [1e6]}, unit="ms").axes[0]
    assert sum(bar.get_height() for container in axes.containers for bar in container) == 101


def test_figures_without_values_are_valid():
    for figure in (
        histogram_figure({"a": []}, unit="ms"),
        curves_figure({}),
        bars_figure({}, unit="x"),
        boxes_figure({}, unit="x"),
    ):
        assert figure_png(figure).startswith(b"\x89PNG")


def test_boxes_show_medians():
    axes = boxes_figure({"asr": [1, 2, 9], "sec": [4, 4, 5]}, unit="tokens").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["asr  (3)", "sec  (3)"]
    medians = [set(line.get_xdata()) for line in axes.lines if len(set(line.get_xdata())) == 1]
    assert {2} in medians
    assert {4} in medians


def test_margins_are_differences_of_log_probabilities():
    margins = Margins(np.array([[-1.0, -2.0]]), np.array([[-1.5, -4.0]]))
    assert (margins.difference_before.tolist(), margins.difference_after.tolist()) == ([1.0], [2.5])
    left, right = margins_figure(margins).axes
    assert left.collections[0].get_offsets().tolist() == [[1.0, 2.5]]
    assert right.collections[0].get_offsets().tolist() == [[-0.5, -2.0]]
