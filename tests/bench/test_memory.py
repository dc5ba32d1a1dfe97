from functools import partial

import pytest
import torch
from torch import nn

from audio_lm.bench import step
from audio_lm.bench.batches import make_batches
from audio_lm.bench.memory import peak_bytes, saved_bytes
from audio_lm.bench.step import SMALL, STAGES, Bench, Side
from audio_lm.common.audio_units import SAMPLES_PER_SECOND
from audio_lm.model.build import build_model
from audio_lm.model.memory_estimate import step_size
from audio_lm.model.weights.part_names import part_of
from tests.devices import DEVICES

CPU = torch.device("cpu")
MIB = 2**20


def blocks(count):
    return torch.zeros(count * MIB // 4)


def test_the_peak_is_the_maximum_of_live_memory():
    def run():
        first = blocks(3)
        second = first + 1  # 6 MiB in use
        del first
        third = second * 2  # 6 MiB again
        del second
        return third.sum()

    assert 6 * MIB <= peak_bytes(run, CPU) < 6.1 * MIB


def test_earlier_tensors_and_views_do_not_count():
    before = blocks(5)
    assert peak_bytes(lambda: before.view(2, -1)[0].t(), CPU) < 1_000


def test_a_linear_layer_saves_its_input_and_not_its_weight():
    layer = nn.Linear(256, 64, bias=False)
    inputs = torch.randn(512, 256)
    assert saved_bytes(lambda: layer(inputs).sum(), [layer.weight]) == inputs.nbytes


def test_a_storage_saved_twice_counts_once_and_one_freed_in_the_forward_pass_does_not_count():
    weight = nn.Parameter(torch.ones(1000))

    def forward():
        values = weight * 1.0
        with torch.enable_grad():
            (values.detach().requires_grad_().exp() ** 2).sum().backward()  # saved and freed inside
        return (values * values).sum()

    assert saved_bytes(forward, [weight]) == 4_000


def test_a_gradient_computed_in_the_forward_pass_is_no_activation():
    class Early(torch.autograd.Function):
        @staticmethod
        def forward(ctx, weight):
            ctx.save_for_backward(torch.ones_like(weight))
            return weight.sum()

        @staticmethod
        def backward(ctx, grad):
            return ctx.saved_tensors[0].mul_(grad)

    weight = nn.Parameter(torch.ones(1000))
    assert saved_bytes(lambda: Early.apply(weight), [weight]) == 0
    assert torch.equal(weight.grad, torch.ones(1000))


@pytest.mark.gpu_counterpart
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("stage", ["encoder", "llm"])
def test_the_plan_of_a_whole_training_is_near_the_peak_of_the_device(device, stage):
    """Weights, moments, gradients and activations, from the first weight to the second step."""
    on = torch.device(device)
    bench = Bench(
        model=SMALL, stage=stage, num_ids=8_000, clips={"cpu": 4, "cuda": 48}[device], device=device
    )
    batch = make_batches(1, bench.clips, 2, bench.num_ids, on)[0]
    sizes = {}

    def run():
        with on:
            model = build_model(bench.model, num_base=bench.num_ids, num_new=0)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(part_of(name) in STAGES[stage])
        sizes.update(step._sizes(model))
        ours = Side(model, partial(step.our_losses, model), on)
        for _ in range(2):
            ours.seconds(batch)

    if device == "cuda":
        run()  # cuBLAS keeps a workspace, which is none of the training's
    measured = peak_bytes(run, on)
    planned = step_size(
        bench.model,
        sizes,
        STAGES[stage],
        tokens=batch.pack.token_ids.numel(),
        audio_seconds=sum(batch.pack.num_samples) / SAMPLES_PER_SECOND,
        learned_tokens=batch.pack.num_learned,
        num_ids=bench.num_ids,
        is_half=device == "cuda",
    )
    assert planned.total == pytest.approx(measured, rel=0.1)
