import pytest
import torch

from audio_lm.common.audio_units import MAX_SAMPLES
from audio_lm.model.encoders.layout_index import LAYOUT_OF, FlatIndex, flat_index, index_on
from audio_lm.model.encoders.packed_layout import packed_layout
from audio_lm.model.encoders.token_count import TOKENS_OF

NUM_SAMPLES = (480, 16_001, MAX_SAMPLES, 8_000)
CPU = torch.device("cpu")


def test_the_layout_of_a_data_worker_is_that_of_the_encoder():
    slots = packed_layout(NUM_SAMPLES)
    computed, collated = index_on(slots, CPU), index_on(slots, CPU, flat_index(NUM_SAMPLES))
    assert all(torch.equal(a, b) for a, b in zip(computed, collated, strict=True))
    assert {each.dtype for each in computed} == {torch.int64}


def test_indices_lie_in_the_clip_that_they_are_of():
    slots = packed_layout(NUM_SAMPLES)
    index = index_on(slots, CPU)
    assert torch.equal(index.clip_of_row, torch.from_numpy(slots.clip_of_row()))
    hop_border = torch.from_numpy((slots.num_rows + 2).cumsum())
    assert torch.equal(torch.bucketize(index.hop_of_row, hop_border, right=True), index.clip_of_row)
    assert torch.equal(torch.bucketize(index.used_hop, hop_border, right=True), index.clip_of_used)
    assert index.border.tolist() == [0, *slots.conv_frames.cumsum().tolist()]
    assert index.frame_of_row[index.start].tolist() == [-1] * len(NUM_SAMPLES)
    assert len(index.paired) == sum(2 * (count // 2) for count in slots.conv_frames.tolist())


def test_a_layout_of_other_clips_is_refused():
    with pytest.raises(ValueError, match="compute it from the num_samples of the pack"):
        index_on(packed_layout(NUM_SAMPLES), CPU, flat_index(NUM_SAMPLES[:2]))


def test_a_flat_index_is_one_tensor():
    flat = flat_index(NUM_SAMPLES)
    assert isinstance(flat, FlatIndex)
    assert flat.values.shape == (sum(flat.sizes),)
    assert set(LAYOUT_OF) <= set(TOKENS_OF), "kinds of encoders"
