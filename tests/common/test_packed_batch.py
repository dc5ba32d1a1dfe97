from dataclasses import fields

import pytest
import torch

from tests.training.tiny import PACKS


def test_moving_a_batch_moves_all_tensors_and_changes_nothing_else():
    batch = PACKS[0]
    moved = batch.to(torch.device("meta"))
    assert {moved.token_ids.device.type, moved.waves.device.type, moved.labels.device.type} == {"meta"}
    assert (moved.cut_ids, moved.num_samples, moved.max_length) == (
        batch.cut_ids,
        batch.num_samples,
        batch.max_length,
    )
    assert len(batch) == 1
    assert batch.num_learned == len(batch.labels) > 0


@pytest.mark.gpu_counterpart
def test_pinning_a_batch_pins_all_tensors_and_changes_nothing_else(monkeypatch):
    batch = PACKS[0]
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor + 1)  # a CPU has no such memory
    pinned = batch.pin_memory()
    for field in fields(batch):
        before, after = getattr(batch, field.name), getattr(pinned, field.name)
        if isinstance(before, torch.Tensor):
            assert torch.equal(after, before + 1), field.name
        else:
            assert after is before, field.name
