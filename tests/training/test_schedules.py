from itertools import pairwise

import pytest
import torch
from transformers import (
    get_cosine_with_min_lr_schedule_with_warmup,
    get_linear_schedule_with_warmup,
)

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


@pytest.mark.parametrize(("kind", "floor"), [("cosine", 0.0), ("cosine", 0.1), ("linear", 0.0)])
@pytest.mark.parametrize("warmup_steps", [0, 1, 7])
def test_rates_are_those_of_transformers_with_a_warmup_that_starts_above_zero(kind, floor, warmup_steps):
    """Theirs trains the first step with a rate of zero; ours is theirs of the next step in the warm-up."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    settings = {"num_warmup_steps": warmup_steps, "num_training_steps": 40}
    theirs = (
        get_cosine_with_min_lr_schedule_with_warmup(optimizer, **settings, min_lr_rate=floor)
        if kind == "cosine"
        else get_linear_schedule_with_warmup(optimizer, **settings)
    )
    (factor,) = theirs.lr_lambdas
    for step in range(41):
        ours = rate_factor(step, kind=kind, steps=40, warmup_steps=warmup_steps, floor=floor)
        assert ours == pytest.approx(factor(step + 1 if step < warmup_steps else step)), step


@pytest.mark.parametrize(("kind", "expected"), [("cosine", 0.3), ("linear", 0.3), ("constant", 1.0)])
def test_the_rate_stays_after_the_last_step(kind, expected):
    settings = {"kind": kind, "warmup_steps": 10, "floor": 0.3}
    assert rate_factor(500, steps=100, **settings) == pytest.approx(expected)
    assert rate_factor(11, steps=10, **settings) == pytest.approx(expected), "a warm-up as long as the stage"
