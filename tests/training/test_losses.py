import torch

from audio_lm.training.losses import next_token_losses, sums_by_task


def test_equal_logits_cost_the_log_of_the_vocabulary():
    losses = next_token_losses(torch.zeros(3, 8), torch.tensor([0, 3, 7]))
    torch.testing.assert_close(losses, torch.full((3,), 8.0).log())


def test_sums_of_tasks_add_up_to_the_whole():
    losses = torch.tensor([1.0, 2.0, 4.0])
    sums, counts = sums_by_task(losses, torch.tensor([0, 2, 2]), num_tasks=3)
    assert sums.tolist() == [1.0, 0.0, 6.0]
    assert counts.tolist() == [1.0, 0.0, 2.0]
