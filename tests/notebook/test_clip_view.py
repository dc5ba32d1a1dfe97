from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from audio_lm.common.errors import UserError
from audio_lm.common.word_timestamps import parse_units
from audio_lm.evaluation.predict import Prediction
from audio_lm.metrics.intervals import AverageShift
from audio_lm.notebook.clip_view import ClipView, stamp_error_picture, stamp_errors

REFERENCE = "<|0.00|><|sil|><|0.20|>one<|0.50|>two<|0.90|>"
ANSWER = "<|0.00|><|sil|><|0.25|>one<|0.48|>ten<|0.60|>"


@pytest.fixture
def clip():
    wave = np.sin(np.arange(16_000) / 20).astype(np.float32) / 2
    return ClipView("clip", "srwt-en", Path("clip.wav"), wave, np.zeros((100, 80), np.float32), REFERENCE)


def test_words_and_spans_are_those_of_the_reference(clip):
    assert clip.words == ["one", "two"]
    assert clip.span_of("two") == (0.5, 0.9)
    with pytest.raises(UserError, match="'three' is not in clip; its words are one two"):
        clip.span_of("three")


def test_a_player_has_the_reference_escaped(clip):
    html = clip._repr_html_()
    assert "clip, 1.00 s; srwt-en: &lt;|0.00|&gt;" in html
    assert "data:audio/wav;base64,UklGR" in html


def test_every_row_of_words_makes_the_picture_higher(clip):
    one = Image.open(BytesIO(clip.picture()._repr_png_()))
    two = Image.open(
        BytesIO(clip.picture({"model": parse_units(ANSWER)}, highlights=[(0.25, 0.48)])._repr_png_())
    )
    assert two.size[1] > one.size[1]


def test_errors_are_those_of_matched_words_and_silences_are_left_out():
    predictions = [Prediction("clip", "srwt-en", (REFERENCE,), ANSWER)]
    errors = stamp_errors(predictions)
    np.testing.assert_allclose(errors["start of a word"], [50])
    np.testing.assert_allclose(errors["end of a word"], [-20])
    hundredths, matched = AverageShift().count(ANSWER, REFERENCE, "en")
    assert matched == 2, "the silence too, whose end is 50 ms late"
    assert 10 * hundredths == 50 + 20 + 50
    assert stamp_error_picture(predictions)._repr_png_().startswith(b"\x89PNG")


def test_an_answer_without_words_has_no_errors_and_a_picture():
    predictions = [Prediction("clip", "srwt-en", (REFERENCE,), "nonsense")]
    assert not stamp_errors(predictions)["start of a word"]
    assert stamp_error_picture(predictions)._repr_png_().startswith(b"\x89PNG")
