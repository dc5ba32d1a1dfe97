import io
import warnings

import numpy as np
import pytest
from PIL import Image
from transformers.audio_utils import hertz_to_mel

from audio_lm.tracking.report.figures import (
    RIGHT,
    WRONG,
    draw_log_mel,
    figure_png,
    mixture_figure,
    new_figure,
    slaney_mel,
    spectrogram_figure,
)


def test_any_text_can_be_plotted_below_a_spectrogram(clip, recwarn):
    warnings.simplefilter("always")
    clips = [
        clip(reference="\u4e03\u4e09\u4e00 $x_{", answer="\uc77c\uacf1 \u3044\u3061 \\frac <|0.00|>"),
        clip(log_mel=np.zeros((0, 80))),
        clip(reference="a" * 500, answer=""),
    ]
    image = Image.open(io.BytesIO(figure_png(spectrogram_figure(clips))))
    assert image.width > 800
    assert not [str(warning.message) for warning in recwarn if "lyph" in str(warning.message)]


def test_a_figure_without_clips_is_a_valid_png():
    assert figure_png(spectrogram_figure([])).startswith(b"\x89PNG")


def test_bars_are_shares_for_any_sum_of_weights():
    axes = mixture_figure({"asr": 3, "sec": 1}).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [75.0, 25.0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["asr", "sec"]


def test_a_figure_of_an_empty_mixture_is_a_valid_png():
    assert figure_png(mixture_figure({})).startswith(b"\x89PNG")


@pytest.mark.parametrize("hertz", [0, 250, 999, 1000, 4000, 8000])
def test_the_scale_is_that_of_the_filters(hertz):
    assert slaney_mel(hertz) == pytest.approx(hertz_to_mel(hertz, mel_scale="slaney"))


def test_a_spectrogram_has_seconds_and_kilohertz():
    axes = new_figure(width=4, height=3).subplots()
    draw_log_mel(axes, np.zeros((150, 80)))
    assert axes.get_xlim() == (0, 1.5)
    assert [label.get_text() for label in axes.get_yticklabels()][-1] == "4 kHz"
    assert axes.xaxis.get_major_formatter()(1.0) == "1 s"
    assert 0 < axes.get_yticks()[0] < axes.get_yticks()[-1] < 80


def test_the_caption_of_a_wrong_answer_has_another_colour(clip):
    figure = spectrogram_figure([clip(reference="a", answer="a"), clip(reference="a", answer="b")])
    assert [axes.xaxis.label.get_color() for axes in figure.axes] == [RIGHT, WRONG]
