import pytest

from audio_lm.common.durations import in_words


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.42, "0.4 s"), (89.4, "89 s"), (90, "1.5 min"), (3700, "1 h 2 min")]
)
def test_a_duration_has_the_unit_that_fits(seconds, text):
    assert in_words(seconds) == text
