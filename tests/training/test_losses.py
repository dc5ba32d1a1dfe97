import torch

from audio_lm.training.losses import sums_by_task


def test_sums_of_tasks_add_up_to_the_whole():
    losses = torch.tensor([1.0, 2.0, 4.0])
    sums, counts = sums_by_task(losses, torch.tensor([0, 2, 2]), num_tasks=3)
    assert sums.tolist() == [1.0, 0.0, 6.0]
    assert counts.tolist() == [1.0, 0.0, 2.0]
