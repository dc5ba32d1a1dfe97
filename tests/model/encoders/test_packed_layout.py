import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_lm.common.audio_units import MAX_SAMPLES, conv_frames_in, frames_in
from audio_lm.model.encoders.packed_layout import packed_layout

lengths = st.lists(st.integers(321, MAX_SAMPLES), min_size=1, max_size=5).map(tuple)


@given(lengths)
def test_slots_are_concatenated_and_have_an_even_number_of_rows(num_samples):
    slots = packed_layout(num_samples)
    clips, frames = slots.clip_of_row(), slots.frame_of_row()
    assert len(clips) == len(frames)
    for number, count in enumerate(num_samples):
        slot = frames[clips == number]
        assert len(slot) % 2 == 0
        assert slot.tolist() == list(range(-1, len(slot) - 1))
        assert len(slot) == 2 * conv_frames_in(frames_in(count)) + 2


@pytest.mark.parametrize("num_samples", [320, MAX_SAMPLES + 1])
def test_clips_of_unsupported_lengths_are_refused(num_samples):
    with pytest.raises(ValueError, match=str(num_samples)):
        packed_layout((1_000, num_samples))
