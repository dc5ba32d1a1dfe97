from itertools import pairwise

import pytest
import torch

from audio_lm.training.schedules import StepSchedule, rate_factor


@pytest.mark.parametrize("kind", ["cosine", "linear", "constant"])
def test_the_warmup_rises_to_the_peak_and_the_rate_never_exceeds_it(kind):
    factors = [rate_factor(step, kind=kind, steps=100, warmup_steps=10, floor=0.2) for step in range(101)]
    assert factors[9] == max(factors) == 1.0
    assert all(after > before for before, after in pairwise(factors[:10]))
    assert all(after <= before for before, after in pairwise(factors[10:]))


@pytest.mark.parametrize("kind", ["cosine", "linear"])
def test_the_schedule_ends_at_the_floor(kind):
    assert rate_factor(100, kind=kind, steps=100, warmup_steps=10, floor=0.2) == pytest.approx(0.2)


def test_the_cosine_is_halfway_in_the_middle():
    assert rate_factor(55, kind="cosine", steps=100, warmup_steps=10, floor=0.2) == pytest.approx(0.6)


def test_seek_sets_the_rates_of_a_step_from_the_peak_of_each_group():
    parameters = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    groups = [
        {"params": [parameter], "lr": lr, "peak_lr": lr}
        for parameter, lr in zip(parameters, (1e-3, 4e-3), strict=True)
    ]
    optimizer = torch.optim.SGD(groups)
    schedule = StepSchedule(optimizer, lambda step: 1 / (1 + step))
    for step in (0, 3, 1):
        schedule.seek(step)
        assert schedule.get_last_lr() == [1e-3 / (1 + step), 4e-3 / (1 + step)]
        assert [group["lr"] for group in optimizer.param_groups] == schedule.get_last_lr()
