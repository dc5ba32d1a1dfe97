import re

import pytest

from audio_lm.common.durations import in_words


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.42, "0.4 s"), (89.4, "89 s"), (90, "1.5 min"), (3700, "1 h 2 min")]
)
def test_a_duration_has_the_unit_that_fits(seconds, text):
    assert in_words(seconds) == text


def test_words_are_within_half_of_their_last_digit_and_never_fall():
    """Over nine minutes and a half, whole minutes."""
    unit_of, before = {"h": 3600.0, "min": 60.0, "s": 1.0}, 0.0
    for tenths in range(0, 100_000, 7):
        words = in_words(tenths / 10)
        value = sum(
            float(number) * unit_of[unit] for number, unit in re.findall(r"([\d.]+) (h|min|s)", words)
        )
        digits = 0.1 if "." in words else 1.0
        assert abs(value - tenths / 10) <= digits * unit_of[words.split()[-1]] / 2 + 1e-6, words
        assert value >= before, words
        before = value
