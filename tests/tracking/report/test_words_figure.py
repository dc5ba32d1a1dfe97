import numpy as np

from audio_lm.common.word_timestamps import parse_units
from audio_lm.tracking.report.figures import figure_png
from audio_lm.tracking.report.words_figure import words_figure

UNITS = parse_units("<|0.00|><|sil|><|0.20|>one<|0.50|>two<|0.90|>")
OTHERS = parse_units("<|0.00|>one<|0.40|>")


def figure_of(rows, **settings):
    return words_figure(np.ones(16_000, np.float32) / 2, rows, **settings)


def test_words_are_boxes_at_their_times_and_silence_is_none():
    axes = figure_of({"reference": UNITS, "model": OTHERS}).axes[-1]
    boxes = [(round(box.get_x(), 2), round(box.get_x() + box.get_width(), 2)) for box in axes.patches]
    assert boxes == [(0.2, 0.5), (0.5, 0.9), (0.0, 0.4)]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["reference", "model"]
    assert axes.get_xlabel() == "time, s"
    assert axes.get_xlim() == (0, 1)


def test_a_model_has_its_colour_with_and_without_a_reference():
    with_reference = figure_of({"reference": UNITS, "model": OTHERS}).axes[-1].patches[-1]
    alone = figure_of({"model": OTHERS}).axes[-1].patches[-1]
    assert with_reference.get_facecolor() == alone.get_facecolor()


def test_highlighted_words_are_bold_and_a_row_without_words_is_named():
    axes = figure_of({"reference": UNITS, "model": []}, highlights=[(0.5, 0.9)]).axes[-1]
    weights = {text.get_text(): text.get_weight() for text in axes.texts}
    assert (weights["one"], weights["two"]) == ("normal", "bold")
    assert "no words" in weights


def test_a_spectrogram_is_optional_and_shares_the_time():
    figure = figure_of({"reference": UNITS}, log_mel=np.zeros((100, 80)))
    assert len(figure.axes) == 3
    assert figure.axes[0].get_xlim() == (0, 1)
    assert figure_png(figure).startswith(b"\x89PNG")
