import numpy as np

from audio_lm.evaluation.radar import main_rows, radar_figure, radar_lines, radius_of
from audio_lm.evaluation.report import Row, Shadow
from audio_lm.tracking.report.figures import figure_png

ROWS = [
    Row("s", "asr", "asr", "wer", 0.25, expected=0.1, shadows={"silence": Shadow(0.9, -0.7, -0.6)}),
    Row("s", "stamps", "srwt-en", "aas", 66.0),
    Row("s", "stamps", "srwt-en", "wer", 1.5),
    Row("s", "labels", "sgc", "acc", 0.75, majority=0.5),
    Row("s", "translation", "s2tt", "bleu", 25.0),
]


def test_further_out_is_better_and_milliseconds_have_no_place():
    radii = [radius_of(row, row.ours) for row in ROWS]
    assert radii == [0.75, None, 0.0, 0.75, 0.25]
    assert [row.metric for row in main_rows(ROWS).values()] == ["wer", "wer", "acc", "bleu"]


def test_a_picture_has_the_scores_of_others_and_of_silence():
    lines = {line.name: line.value_of for line in radar_lines("ours", ROWS)}
    assert lines["published"] == {"asr": 0.9}
    assert lines["with silence"]["asr"] < 0.11
    assert lines["majority"] == {"labels": 0.5}
    figure = radar_figure(radar_lines("ours", ROWS), title="ours")
    assert figure_png(figure).startswith(b"\x89PNG")


def test_no_line_crosses_the_axis_of_a_benchmark_without_a_score():
    figure = radar_figure(radar_lines("ours", ROWS), title="ours")
    radii = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines}
    assert [*np.isnan(radii["majority"])] == [True, True, False, True, True]
    assert not np.isnan(radii["ours"]).any()


def test_two_benchmarks_give_no_picture():
    assert radar_figure(radar_lines("ours", ROWS[:2]), title="ours") is None
    assert radar_figure([], title="ours") is None
