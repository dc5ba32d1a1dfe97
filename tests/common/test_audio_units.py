import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import avg_pool1d, conv1d

from audio_lm.common.audio_units import (
    MAX_FRAMES,
    MAX_SAMPLES,
    MIN_FRAMES,
    WHISPER,
    AudioTokenCount,
    Window,
    conv_frames_in,
    frames_in,
    samples_in,
    tokens_in,
)


@pytest.mark.parametrize(("num_frames", "tokens"), [(2, 0), (3, 1), (4, 1), (100, 25), (MAX_FRAMES, 750)])
def test_token_counts_of_known_lengths(num_frames, tokens):
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


@given(st.integers(321, MAX_SAMPLES))
def test_windows_give_the_token_count_of_the_encoder(num_samples):
    assert WHISPER.tokens_in(num_samples) == tokens_in(frames_in(num_samples))


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 5)), min_size=1, max_size=5), st.integers(0, 5_000)
)
def test_min_samples_is_the_smallest_count_that_gives_a_token(pairs, num_samples):
    token_count = AudioTokenCount(tuple(Window(*pair) for pair in pairs))
    counts = [token_count.min_samples - 1, token_count.min_samples]
    for window in token_count.windows:
        counts = [(count - window.length) // window.hop + 1 for count in counts]
    assert counts[0] < 1 == counts[1]
    assert token_count.tokens_in(0) == token_count.tokens_in(token_count.min_samples) == 1
    assert token_count.tokens_in(num_samples) <= token_count.tokens_in(num_samples + 1)


def test_an_incomplete_group_of_a_short_clip_gives_one_token():
    grouped = WHISPER.with_windows(Window(1, 4))
    assert [grouped.tokens_in(count) for count in (400, 16_000, 16_000 * 30)] == [1, 7, 188]
    assert grouped.tokens_per_second == 6.25


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 5)), min_size=1, max_size=4), st.integers(0, 3_000)
)
def test_counts_are_the_output_lengths_of_layers_of_torch(pairs, more_samples):
    token_count = AudioTokenCount(tuple(Window(*pair) for pair in pairs))
    values = torch.zeros(1, 1, token_count.min_samples + more_samples)
    num_samples = values.shape[-1]
    for length, hop in pairs:
        values = avg_pool1d(values, length, hop)
    assert token_count.tokens_in(num_samples) == values.shape[-1]


@given(st.integers(MIN_FRAMES, MAX_FRAMES))
def test_frames_and_tokens_are_the_output_lengths_of_the_layers_of_whisper_and_qwen2_audio(num_frames):
    """A convolution over three frames with a stride of two and a border of one; a pool over pairs."""
    conv = conv1d(torch.zeros(1, 1, num_frames), torch.zeros(1, 1, 3), stride=2, padding=1)
    assert conv_frames_in(num_frames) == conv.shape[-1]
    assert tokens_in(num_frames) == avg_pool1d(conv, 2, 2).shape[-1]
