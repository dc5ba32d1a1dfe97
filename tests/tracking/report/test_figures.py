import io
import warnings

import numpy as np
from PIL import Image

from audio_lm.tracking.report.figures import figure_png, mixture_figure, spectrogram_figure


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
