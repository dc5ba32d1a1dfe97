import math
import random

import pytest
import torch

from audio_lm.training.losses import TaskLoss, TaskMeasures, sums_by_task
from tests.forked import on_ranks, together

TASKS = ("sec", "asr", "chat", "mna")


def test_losses_and_tokens_are_summed_by_task():
    losses = torch.tensor([1.0, 2.0, 4.0])
    sums = sums_by_task(losses, torch.tensor([0, 2, 2]), ("asr", "sec", "chat"))
    assert sums == {"asr": (1.0, 1.0), "sec": (0.0, 0.0), "chat": (6.0, 2.0)}


def steps_of(number, num_steps=7):
    """Random sums of the packs of some steps; their total depends on the order of addition."""
    rng = random.Random(number)

    def pack():
        return {
            task: (rng.random() * 10 ** rng.randint(0, 6), rng.randint(0, 99))
            for task in rng.sample(TASKS, 2)
        }

    return [[pack() for _ in range(rng.randint(0, 3))] for _ in range(num_steps)]


def expected_means(ranks):
    """Means from sums over packs, then steps, then ranks, with tasks in the order of their first sums."""

    def add(terms):
        totals = {}
        for sums in terms:
            for task, (loss, tokens) in sums.items():
                before = totals.get(task, (0.0, 0.0))
                totals[task] = (before[0] + loss, before[1] + tokens)
        return totals

    def of_rank(steps):
        totals = {}
        for packs in steps:
            totals = add([totals, add(packs)])
        return totals

    sums = add(map(of_rank, ranks))
    loss = tokens = 0.0
    for pair in sums.values():
        loss, tokens = loss + pair[0], tokens + pair[1]
    means = {task: loss / tokens for task, (loss, tokens) in sums.items() if tokens}
    return means | ({"all": loss / max(1.0, tokens)} if sums else {})


def metric_of(steps, **settings):
    metric = TaskLoss(**settings)
    for packs in steps:
        metric.update(packs)
    return metric


@pytest.mark.parametrize("seed", range(20))
def test_sums_are_added_in_the_order_of_updates_to_the_last_bit(seed):
    assert metric_of(steps_of(seed)).compute() == expected_means([steps_of(seed)])


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
@pytest.mark.parametrize("tensor_parallel", [1, 2])
def test_sums_of_ranks_are_added_in_the_order_of_ranks_and_tensor_parallel_ones_once(tensor_parallel):
    """One rank has no sums; the sums of each rank do not change."""
    steps_of_rank = [steps_of(0), []]

    def work(number):
        is_first = number % tensor_parallel == 0
        steps = steps_of_rank[number // tensor_parallel] if is_first else steps_of(9)
        metric = metric_of(steps, tensor_parallel=tensor_parallel)
        before = metric.sums
        return metric.compute(), metric.sums == before, metric.metric_state.keys() == {"rows"}

    expected = expected_means(steps_of_rank)
    assert on_ranks(2 * tensor_parallel, together(work)) == [(expected, True, True)] * 2 * tensor_parallel


def test_restored_sums_continue_to_the_same_value():
    steps = steps_of(3)
    restored = metric_of([[metric_of(steps[:4]).sums]])
    for packs in steps[4:]:
        restored.update(packs)
    assert restored.compute() == metric_of(steps).compute()
    restored.reset()
    assert (restored.sums, restored.rows) == ({}, [])


def test_a_task_without_learned_tokens_has_no_value():
    assert metric_of([[]]).compute() == {}
    assert metric_of([[{"asr": (0.0, 0.0)}]]).compute() == {"all": 0.0}
    assert math.isnan(metric_of([[{"asr": (math.nan, 2.0)}]]).compute()["asr"])


def test_moving_and_casting_the_model_keeps_sums_exact():
    model = torch.nn.Module()
    model.loss = metric_of(steps_of(4))
    before = model.loss.compute()
    model.to(torch.bfloat16).to("meta")
    model.loss.update([])
    assert model.loss.compute() == before
    assert not model.state_dict()


def test_measures_have_a_mean_for_each_task_and_for_all():
    measures = TaskMeasures()
    measures.add(
        [{"accuracy": {"asr": (1.0, 2.0)}, "margin": {"asr": (3.0, 2.0)}}, {"accuracy": {"chat": (1.0, 1.0)}}]
    )
    measures.add([{"accuracy": {"asr": (1.0, 1.0)}}])
    assert measures.compute() == {
        "accuracy/asr": 2 / 3,
        "accuracy/chat": 1.0,
        "accuracy/all": 0.75,
        "margin/asr": 1.5,
        "margin/all": 1.5,
    }
