import math
import random

import pytest
import torch

from audio_lm.training.losses import TaskLoss, sums_by_task
from tests.forked import on_ranks, together

TASKS = ("sec", "asr", "chat", "mna")


def test_sums_of_tasks_add_up_to_the_whole():
    losses = torch.tensor([1.0, 2.0, 4.0])
    sums = sums_by_task(losses, torch.tensor([0, 2, 2]), ("asr", "sec", "chat"))
    assert sums == {"asr": (1.0, 1.0), "sec": (0.0, 0.0), "chat": (6.0, 2.0)}


def steps_of(number, num_steps=7):
    """Sums of the packs of some steps, as a rank has them; numbers whose order of addition shows."""
    rng = random.Random(number)

    def pack():
        return {
            task: (rng.random() * 10 ** rng.randint(0, 6), rng.randint(0, 99))
            for task in rng.sample(TASKS, 2)
        }

    return [[pack() for _ in range(rng.randint(0, 3))] for _ in range(num_steps)]


def by_hand(ranks):
    """Packs into steps, steps into ranks, ranks into one; tasks by their first sums."""

    def add(parts):
        whole = {}
        for part in parts:
            for task, (loss, tokens) in part.items():
                before = whole.get(task, (0.0, 0.0))
                whole[task] = (before[0] + loss, before[1] + tokens)
        return whole

    def of_rank(steps):
        whole = {}
        for packs in steps:
            whole = add([whole, add(packs)])
        return whole

    sums = add(map(of_rank, ranks))
    loss = tokens = 0.0
    for pair in sums.values():
        loss, tokens = loss + pair[0], tokens + pair[1]
    means = {task: loss / tokens for task, (loss, tokens) in sums.items() if tokens}
    return means | ({"all": loss / max(1.0, tokens)} if sums else {})


def filled(steps, **how):
    metric = TaskLoss(**how)
    for packs in steps:
        metric.update(packs)
    return metric


@pytest.mark.parametrize("seed", range(20))
def test_sums_are_added_in_their_order_to_the_last_bit(seed):
    assert filled(steps_of(seed)).compute() == by_hand([steps_of(seed)])


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
@pytest.mark.parametrize("tensor_parallel", [1, 2])
def test_ranks_are_added_in_their_order_and_those_alike_once(tensor_parallel):
    """One of them has nothing to add; what each has is kept."""
    dealt = [steps_of(0), []]

    def work(number):
        is_first = number % tensor_parallel == 0
        mine = filled(
            dealt[number // tensor_parallel] if is_first else steps_of(9), tensor_parallel=tensor_parallel
        )
        before = mine.sums
        return mine.compute(), mine.sums == before, mine.metric_state.keys() == {"rows"}

    expected = by_hand(dealt)
    assert on_ranks(2 * tensor_parallel, together(work)) == [(expected, True, True)] * 2 * tensor_parallel


def test_open_sums_go_on_where_they_were():
    steps = steps_of(3)
    again = filled([[filled(steps[:4]).sums]])
    for packs in steps[4:]:
        again.update(packs)
    assert again.compute() == filled(steps).compute()
    again.reset()
    assert (again.sums, again.rows) == ({}, [])


def test_nothing_learned_is_no_value():
    assert filled([[]]).compute() == {}
    assert filled([[{"asr": (0.0, 0.0)}]]).compute() == {"all": 0.0}
    assert math.isnan(filled([[{"asr": (math.nan, 2.0)}]]).compute()["asr"])


def test_what_is_done_to_a_model_leaves_sums_exact():
    model = torch.nn.Module()
    model.loss = filled(steps_of(4))
    before = model.loss.compute()
    model.to(torch.bfloat16).to("meta")
    model.loss.update([])
    assert model.loss.compute() == before
    assert not model.state_dict()
