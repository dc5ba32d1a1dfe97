import io

import numpy as np
from matplotlib import image

from audio_lm.chat.grounding import Span
from audio_lm.chat.span_picture import span_picture
from audio_lm.common.word_timestamps import parse_units

UNITS = parse_units("<|0.00|><|sil|><|0.20|>one<|0.50|>two<|0.90|>")
ORANGE = np.array([0.98, 0.88, 0.69])  # a span on white


def columns_of(wave, spans):
    """Columns of the picture with the colour of a span, as a share of its width."""
    pixels = image.imread(io.BytesIO(span_picture(wave, UNITS, spans, title="a $clip")))[..., :3]
    is_span = (np.abs(pixels - ORANGE) < 0.06).all(-1).sum(0) > 20
    return np.flatnonzero(is_span) / pixels.shape[1]


def test_a_span_is_highlighted_at_its_time(make_wave):
    wave = make_wave(seconds=1.0)
    assert len(columns_of(wave, [])) == 0
    early = columns_of(wave, [Span("one", 0.2, 0.5)])
    late = columns_of(wave, [Span("two", 0.5, 0.9)])
    assert len(early) > 0
    assert early.max() <= late.min() + 0.01
    assert 0.2 < np.ptp(early) < 0.35


def test_silence_and_long_clips_have_a_picture(make_wave):
    assert span_picture(np.zeros(400, np.float32), [], []).startswith(b"\x89PNG")
    assert len(span_picture(make_wave(seconds=30), UNITS, [])) < 300_000
