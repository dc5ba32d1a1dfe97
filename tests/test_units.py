import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_lm.units import (
    MAX_FRAMES,
    MAX_SAMPLES,
    MIN_FRAMES,
    conv_frames_in,
    frames_in,
    samples_in,
    tokens_in,
)


@pytest.mark.parametrize(("num_frames", "tokens"), [(2, 0), (3, 1), (4, 1), (100, 25), (MAX_FRAMES, 750)])
def test_tokens_of_known_lengths(num_frames, tokens):
    assert tokens_in(num_frames) == tokens


@given(st.integers(1, MAX_SAMPLES - 1))
def test_longer_clips_never_have_fewer_tokens(num_samples):
    assert tokens_in(frames_in(num_samples)) <= tokens_in(frames_in(num_samples + 1))


@given(st.integers(MIN_FRAMES, MAX_FRAMES))
def test_two_conv_frames_make_a_token(num_frames):
    assert tokens_in(num_frames) == conv_frames_in(num_frames) // 2


def test_a_second_is_sixteen_thousand_samples_and_a_hundred_frames():
    assert samples_in(1.0) == 16_000
    assert frames_in(16_000) == 100
