from dataclasses import fields

import torch

from audio_lm.data.collate import Collator
from audio_lm.data.examples import ExampleMaker, with_example
from audio_lm.model.encoders.layout_index import flat_index


def test_moving_a_batch_moves_all_tensors_and_changes_nothing_else(make_cuts, vocabulary):
    maker = ExampleMaker(vocabulary, "tags")
    batch = Collator()([with_example(cut, maker.example(cut, "asr")) for cut in make_cuts(2)])
    moved = batch.to(torch.device("meta"))
    assert {moved.token_ids.device.type, moved.waves.device.type, moved.labels.device.type} == {"meta"}
    assert (moved.cut_ids, moved.num_samples, moved.max_length) == (
        batch.cut_ids,
        batch.num_samples,
        batch.max_length,
    )
    assert len(batch) == 2
    assert batch.num_learned == len(batch.labels) > 0


def test_every_tensor_is_pinned(make_cuts, vocabulary, monkeypatch):
    maker = ExampleMaker(vocabulary, "tags")
    collate = Collator(layout_of=flat_index)
    batch = collate([with_example(cut, maker.example(cut, "asr")) for cut in make_cuts(2)])
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pinned.append(tensor) or tensor.clone())
    copy = batch.pin_memory()
    tensors = [
        value for field in fields(batch) if isinstance(value := getattr(batch, field.name), torch.Tensor)
    ]
    assert list(map(id, pinned)) == list(map(id, tensors))
    assert torch.equal(copy.layout, batch.layout)
    assert (copy.cut_ids, copy.clip_layout[1]) == (batch.cut_ids, batch.layout_sizes)
