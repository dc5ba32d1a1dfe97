"""Sharding on 2 and 4 ranks: each scenario is compared with one process that trains on all packs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from lightning import Trainer
from torch.utils.data import DataLoader

from audio_lm.common.env import world_size
from audio_lm.common.errors import RecipeError
from audio_lm.model.build import build_model
from audio_lm.model.weights.shards import copy_to_local
from audio_lm.training.config import OptimizerConfig
from audio_lm.training.distributed import FSDP2Strategy
from audio_lm.training.fsdp import (
    check_sharded,
    check_tensor_parallel,
    fsdp_units,
    new_mesh,
    set_gradient_sync,
    shard,
)
from audio_lm.training.next_token import NextTokenModule
from audio_lm.training.optimizers import build_optimizer
from tests.conftest import TINY
from tests.forked import on_ranks, together
from tests.training.sharded_runs import (
    KINDS,
    TOLERANCE,
    Layout,
    distances,
    full_values,
    rates_of,
    relative_distance,
    train,
)
from tests.training.tiny import PACKS, tiny

FSDP = Layout(1)
LAYOUTS = {
    2: {
        "replicated": Layout(),
        "fsdp": FSDP,
        "frozen parts sharded": Layout(1, settings={"shard_frozen": True}),
        "tensor parallel": Layout(1, tensor_parallel=2),
    },
    4: {
        "replicated": Layout(),
        "fsdp": FSDP,
        "hsdp, two groups of two": Layout(2),
        "tensor parallel, sharded over two": Layout(1, tensor_parallel=2),
    },
}
CASES = {
    num_ranks: {
        (kind, name): layout
        for kind in KINDS
        for name, layout in layouts.items()
        if not (kind == "lora" and layout.tensor_parallel > 1)
    }
    for num_ranks, layouts in LAYOUTS.items()
}
CLIPPED = replace(FSDP, clip=0.1, steps=10)
NONFINITE = "a step with a nonfinite gradient on one rank"
CASES[2] |= {
    ("all", "a part that is unfrozen"): replace(FSDP, from_step=5, steps=10),
    ("all", NONFINITE): replace(FSDP, nonfinite_steps=(3,), steps=10),
    ("all", "a step with a nonfinite gradient on one of two replicas"): Layout(
        nonfinite_steps=(3,), steps=10
    ),
    ("all", "cpu offload"): replace(CLIPPED, settings={"cpu_offload": True}, steps=5),
    ("all", "activation checkpointing"): replace(FSDP, recomputed=("encoder", "language_model"), steps=10),
}
CASES[2] |= {
    ("all", "clipped"): CLIPPED,
    ("encoder", "clipped, frozen parts sharded"): replace(CLIPPED, settings={"shard_frozen": True}),
}
CASES[4] |= {
    ("all", "a part that is unfrozen, tensor parallel"): replace(
        FSDP, from_step=5, steps=10, tensor_parallel=2
    ),
    ("all", "fsdp repeated"): FSDP,
    ("all", "clipped, two groups of two"): replace(CLIPPED, num_groups=2),
    ("all", "clipped, tensor parallel"): replace(CLIPPED, tensor_parallel=2),
}
FAULTS = {
    2: {
        ("all", "averaged"): FSDP,
        ("lora", "not summed"): Layout(),
        ("encoder", "normalised by each rank"): FSDP,
        ("language model", "normalised by each rank"): Layout(),
        ("all", "tensor-parallel packs counted twice"): Layout(1, tensor_parallel=2),
    },
    4: {("all", "not summed over groups"): Layout(2)},
}
"""Controls of the comparison: each changes the gradient without an error."""
for num_ranks, faults in FAULTS.items():
    CASES[num_ranks] |= {case: replace(layout, fault=case[1], steps=2) for case, layout in faults.items()}


@pytest.fixture(scope="module", params=sorted(CASES))
def rank_results(request):
    """Number of ranks, and the results of all ranks in each scenario."""
    cases = CASES[request.param]
    by_rank = on_ranks(
        request.param, together(lambda number: {case: train(case[0], cases[case]) for case in cases})
    )
    return request.param, {case: [results[case] for results in by_rank] for case in cases}


def without_faults(num_ranks, results_of):
    return {case: results for case, results in results_of.items() if case not in FAULTS[num_ranks]}


@pytest.fixture(scope="module")
def reference_of():
    """One process that trains on all packs; each run is made once."""
    known = {}

    def run(kind, layout):
        plain = replace(layout, num_groups=None, tensor_parallel=1, settings={}, recomputed=(), fault="")
        if (kind, str(plain)) not in known:
            known[kind, str(plain)] = train(kind, plain)
        return known[kind, str(plain)]

    return run


@pytest.mark.slow
def test_ranks_train_like_one_process_and_frozen_parts_do_not_move(rank_results, reference_of):
    num_ranks, results_of = rank_results
    for case, results in without_faults(num_ranks, results_of).items():
        kind, layout = case[0], CASES[num_ranks][case]
        reference = reference_of(kind, layout)
        frozen = {part for part, lr in KINDS[kind].items() if lr is None}
        for result in results:
            distance = distances(reference, result)
            print(num_ranks, *case, *(f"{value:.1e}" for value in distance))
            assert max(distance) < TOLERANCE, (case, distance)
            assert result.val_losses == pytest.approx(reference.val_losses, rel=1e-6)
            assert len(result.val_losses) == (layout.steps // layout.from_step if layout.from_step else 0)
            for name, value in result.before.items():
                is_frozen = name.partition(".")[0] in frozen and "lora_" not in name
                is_still = np.array_equal(value, result.after[name])
                assert is_still or not is_frozen, (case, name)
        moved = {
            name.partition(".")[0]
            for name, value in results[0].before.items()
            if (value != results[0].after[name]).any()
        }
        assert moved == {part.removesuffix("_lora") for part, lr in KINDS[kind].items() if lr}, case


@pytest.mark.slow
def test_all_ranks_have_the_same_losses_and_weights_and_a_repeated_run_too(rank_results):
    num_ranks, results_of = rank_results
    for case, (first, *others) in without_faults(num_ranks, results_of).items():
        assert all(result.losses == first.losses for result in others), case
        assert all(relative_distance(first.after, result.after) == 0 for result in others), case
    if num_ranks == 4:
        first, second = results_of["all", "fsdp"][0], results_of["all", "fsdp repeated"][0]
        assert first.losses == second.losses
        assert relative_distance(first.after, second.after) == 0


@pytest.mark.slow
def test_trained_parameters_and_optimizer_states_are_sharded_evenly(rank_results, reference_of):
    num_ranks, results_of = rank_results
    reference = reference_of("all", FSDP)
    for result in results_of["all", "fsdp"]:
        assert result.num_local == pytest.approx(reference.num_local / num_ranks, rel=0.05)
        assert result.num_states == pytest.approx(reference.num_states / num_ranks, rel=0.05)
    for result in results_of["all", "replicated"]:
        assert result.num_local == reference.num_local
    frozen = results_of["encoder", "fsdp"][0].num_local
    assert frozen > 0.5 * reference.num_local  # the language model is replicated
    if num_ranks == 2:
        assert results_of["encoder", "frozen parts sharded"][0].num_local < 0.6 * reference.num_local


@pytest.mark.slow
def test_a_step_with_a_nonfinite_gradient_on_one_rank_is_skipped_on_all(rank_results, reference_of):
    num_ranks, results_of = rank_results
    if num_ranks != 2:
        return
    plain, skipped = results_of["all", "fsdp"][0], results_of["all", NONFINITE][0]
    assert skipped.losses[:3] == plain.losses[:3]
    assert skipped.losses[4:] == plain.losses[3:9]  # as if there was no such step


@pytest.mark.slow
def test_activation_checkpointing_changes_nothing(rank_results):
    num_ranks, results_of = rank_results
    if num_ranks != 2:
        return
    recomputed, plain = results_of["all", "activation checkpointing"][0], results_of["all", "fsdp"][0]
    assert recomputed.losses == plain.losses[:10]


@pytest.mark.slow
def test_each_fault_is_detected(rank_results, reference_of):
    num_ranks, results_of = rank_results
    for case in FAULTS[num_ranks]:
        reference = reference_of(case[0], CASES[num_ranks][case])
        gradients = min(distances(reference, result)[1] for result in results_of[case])
        print(num_ranks, *case, f"{gradients:.1e}")
        assert gradients > 0.1, case


@pytest.mark.slow
def test_missing_clipping_is_detected(reference_of):
    clipped, unclipped = (reference_of("all", replace(CLIPPED, clip=clip)) for clip in (0.1, 0.0))
    assert distances(clipped, unclipped)[1] > 0.1


def _muon_weights(is_sharded, settings):
    """Weights after three steps; the gradients are the same with and without sharding."""
    model = tiny("all")
    rates = rates_of(model, "all")
    if is_sharded:
        mesh = new_mesh("cpu", num_groups=1, num_ranks=world_size())
        shard(model, mesh, trained=rates)
    optimizer = build_optimizer(model, rates, settings)
    for step_number in range(3):
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"]
        for number, parameter in enumerate(model.parameters()):
            generator = torch.Generator().manual_seed(1000 * step_number + number)
            full_gradient = torch.randn(parameter.shape, generator=generator)
            parameter.grad = torch.zeros_like(parameter)
            copy_to_local(parameter.grad, full_gradient)
        optimizer.step()
    return full_values(dict(model.named_parameters()))


@pytest.mark.slow
def test_sharded_muon_takes_the_same_step_as_unsharded():
    settings = OptimizerConfig(kind="muon", weight_decay=0.1)
    first, second = on_ranks(2, together(lambda number: _muon_weights(True, settings)))
    unsharded = _muon_weights(False, settings)
    assert relative_distance(first, second) == 0
    assert relative_distance(unsharded, first) < 1e-7
    control = _muon_weights(False, replace(settings, weight_decay=0.2))
    assert relative_distance(unsharded, control) > 1e-4


def _unsharded_projector(number):
    """Gradient of a projector that is not sharded, and the error and steps of a trainer."""
    model = tiny("all")
    mesh = new_mesh("cpu", num_groups=1, num_ranks=2)
    trained = [name for name, _ in model.named_parameters()]
    sharded = [name for name in trained if not name.startswith("projector")]
    shard(model, mesh, trained=sharded)
    model.loss(PACKS[number]).total.backward()
    gradient = model.projector.linear.weight.grad.numpy().copy()
    message = ""
    module = NextTokenModule(
        model,
        rate_of=rates_of(model, "all"),
        factor=lambda step: 1.0,
        optimizer=OptimizerConfig(),
    )
    settings = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(
        accelerator="cpu",
        devices=2,
        strategy=FSDP2Strategy(mesh),
        use_distributed_sampler=False,
        max_steps=1,
        enable_model_summary=False,
        **settings,
    )
    try:
        trainer.fit(module, DataLoader([(PACKS[number],)], batch_size=None))
    except ValueError as error:
        message = str(error)
    check_sharded(model, sharded)
    return gradient, message, trainer.global_step


@pytest.mark.slow
def test_a_trained_parameter_that_is_not_sharded_is_refused_by_name_before_the_first_step():
    (first, message, steps), (second, _, _) = on_ranks(2, together(_unsharded_projector))
    assert "2 trained parameters are not sharded" in message
    assert "projector.linear.weight" in message
    assert steps == 0
    assert not np.allclose(first, second)  # without the check each rank would train on its own gradient


def _count_reductions(number):
    """Number of reductions in a step of two packs, after the last pack or after each, and number of FSDP units."""
    names = ("reduce_scatter_single", "reduce_scatter_tensor")  # the first one since torch 2.13
    name = next(name for name in names if hasattr(torch.distributed, name))
    counts, count, reduce_scatter = [], [0], getattr(torch.distributed, name)

    def counting_reduce_scatter(*args, **kwargs):
        count[0] += 1
        return reduce_scatter(*args, **kwargs)

    setattr(torch.distributed, name, counting_reduce_scatter)  # in this forked process only
    for is_once in (True, False):
        model = tiny("all")
        shard(
            model,
            new_mesh("cpu", num_groups=1, num_ranks=2),
            trained=[name for name, _ in model.named_parameters()],
        )
        before = count[0]
        for pack in PACKS[:2]:
            set_gradient_sync(model, is_last=pack is PACKS[1] or not is_once)
            model.loss(pack).total.backward()
        counts.append(count[0] - before)
        without_grad = [name for name, parameter in model.named_parameters() if parameter.grad is None]
        assert not without_grad, without_grad
    return counts, len(fsdp_units(tiny("all"))) + 1


@pytest.mark.slow
def test_gradients_are_reduced_once_a_step_and_unit_with_any_number_of_packs():
    ((once, after_each_pack), num_units), _ = on_ranks(2, together(_count_reductions))
    assert once == num_units
    assert after_each_pack == 2 * num_units


def _unequal_packs(number):
    with pytest.raises(ValueError, match="expected as many each"):
        count_learned(PACKS[: 1 + number])
    return True


def count_learned(packs):
    model = tiny("all")
    module = NextTokenModule(
        model, rate_of=rates_of(model, "all"), factor=lambda step: 1.0, optimizer=OptimizerConfig()
    )
    module._num_counted(packs)


@pytest.mark.slow
def test_ranks_with_unequal_numbers_of_packs_raise_an_error_and_do_not_hang():
    assert on_ranks(2, together(_unequal_packs)) == [True, True]


def _train_in_bf16(number):
    layout = replace(FSDP, precision="bf16-mixed", settings={"is_half": True}, steps=5)
    return train("all", layout)


@pytest.mark.slow
def test_in_bf16_weights_and_gradients_stay_in_float32_and_losses_are_close():
    result, _ = on_ranks(2, together(_train_in_bf16))
    reference = train("all", Layout(precision="bf16-mixed", steps=5))
    assert result.losses == pytest.approx(reference.losses, rel=1e-2)
    assert result.losses != reference.losses
    assert {value.dtype for value in (*result.after.values(), *result.gradients[0].values())} == {
        np.dtype("f4")
    }


def test_fsdp_units_are_the_layers_and_nothing_else():
    model = tiny("all")
    names = [name for name, module in model.named_modules() if module in fsdp_units(model)]
    assert len(names) == 2 + 2
    assert all(".layers." in name for name in names)


def with_language_model(**settings):
    language_model = replace(TINY.language_model, **settings)
    return build_model(replace(TINY, language_model=language_model), num_base=50, num_new=3)


def test_a_language_model_that_tensor_parallelism_does_not_support_is_refused():
    check_tensor_parallel(tiny("all"), 2)
    settings = TINY.language_model.settings
    with pytest.raises(RecipeError, match=r"num_attention_heads.*not multiples"):
        check_tensor_parallel(with_language_model(settings=settings | {"num_attention_heads": 1}), 2)
    with pytest.raises(RecipeError, match=r"does not support .*self_attn.q_norm"):
        check_tensor_parallel(with_language_model(architecture="qwen3"), 2)
    with pytest.raises(RecipeError, match=r"does not support .*lora_A"):
        check_tensor_parallel(tiny("lora"), 2)
