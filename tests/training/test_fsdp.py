"""One launch for each number of ranks; every scenario of it is compared with one process that hears all packs."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from lightning import Callback, Trainer
from torch.distributed.fsdp import FSDPModule
from torch.utils.data import DataLoader

from audio_lm.common.env import rank, world_size
from audio_lm.common.errors import RecipeError
from audio_lm.common.packed_batch import PackedBatch
from audio_lm.model.build import build_model
from audio_lm.model.config import LoraConfig
from audio_lm.model.weights.shards import copy_to_local, full_tensor
from audio_lm.training import next_token
from audio_lm.training.compile import recompute_layers
from audio_lm.training.config import OptimizerConfig, PartConfig
from audio_lm.training.distributed import FSDP2Strategy, TokenSumDDPStrategy, sum_gradients
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
from audio_lm.training.param_groups import learning_rates
from tests.conftest import TINY
from tests.forked import on_ranks, together

STEPS, LOOKED_AT = 20, (0, 9, 19)
SAME = 1e-5  # relative
ALL_REDUCE = torch.distributed.all_reduce
FROZEN = dict.fromkeys(("encoder", "projector", "new_tokens", "language_model"))
KINDS = {
    "encoder": FROZEN | {"encoder": 1e-3, "projector": 1e-3},
    "language model": FROZEN | {"language_model": 1e-3, "new_tokens": 1e-3},
    "lora": FROZEN | {"language_model_lora": 1e-3, "projector": 1e-3},
    "all": dict.fromkeys(FROZEN, 1e-3),
}
UPDATES = {"language_model": LoraConfig(rank=2)}


@dataclass(frozen=True)
class Layout:
    """How ranks share a model; without groups every rank has all of it."""

    num_groups: int | None = None
    tensor_parallel: int = 1
    settings: dict = field(default_factory=dict)
    clip: float = 0.0
    from_step: int = 0
    steps: int = STEPS
    spoil: tuple[int, ...] = ()
    recomputed: tuple[str, ...] = ()
    precision: str = "32-true"
    fault: str = ""


@dataclass
class Seen:
    """What a run left behind."""

    losses: list = field(default_factory=list)
    val_losses: list = field(default_factory=list)
    gradients: dict = field(default_factory=dict)
    before: dict = field(default_factory=dict)
    after: dict = field(default_factory=dict)
    num_local: int = 0
    num_states: int = 0
    num_reductions: int = 0


def pack_of(number):
    """A clip and some words, of a length of its own."""
    chance = torch.Generator().manual_seed(number)
    length, num_learned = 22 + 3 * number, 5 + number
    return PackedBatch(
        token_ids=torch.randint(0, 60, (length,), generator=chance),
        position_ids=torch.arange(length),
        cu_seq_lens=torch.tensor([0, length], dtype=torch.int32),
        max_length=128,
        audio_index=torch.arange(2, 12),
        waves=torch.randn(6400, generator=chance) * 0.1,
        num_samples=(6400,),
        learned_index=torch.arange(length - num_learned - 1, length - 1),
        labels=torch.randint(0, 60, (num_learned,), generator=chance),
        task_index=torch.zeros(num_learned, dtype=torch.long),
        tasks=("asr",),
        cut_ids=(f"cut-{number}",),
    )


PACKS = [pack_of(number) for number in range(4)]


class Watched(NextTokenModule):
    """Looks at gradients as the optimizer gets them, and spoils some."""

    def __init__(self, *args, seen, layout, **settings):
        super().__init__(*args, **settings)
        self.seen, self.spoil, self.fault = seen, layout.spoil, layout.fault

    def manual_backward(self, loss, *args, **kwargs):
        if self.global_step in self.spoil and rank() == world_size() - 1:
            loss = loss * float("nan")
        super().manual_backward(loss, *args, **kwargs)

    def _num_learned(self, packs):
        if self.fault == "normalised by each rank":
            return float(sum(pack.num_learned for pack in packs))
        return super()._num_learned(packs)

    def on_before_optimizer_step(self, optimizer):
        if self.global_step in LOOKED_AT:
            self.seen.gradients[self.global_step] = weights_in(
                {name: one.grad for name, one in self.model.named_parameters() if one.grad is not None}
            )


class Losses(Callback):
    def __init__(self, seen):
        self.seen = seen

    def on_train_batch_end(self, trainer, *_):
        self.seen.losses.append(float(trainer.callback_metrics.get("train_loss/all", 0.0)))

    def on_validation_end(self, trainer, *_):
        self.seen.val_losses.append(float(trainer.callback_metrics["val_loss/all"]))


def weights_in(named):
    return {name: full_tensor(one).numpy().copy() for name, one in named.items()}


def tiny(kind):
    torch.manual_seed(0)
    return build_model(replace(TINY, lora=UPDATES if kind == "lora" else {}), num_base=50, num_new=10)


def rates_in(model, kind, from_step=0):
    parts = {
        part: PartConfig(lr=lr, from_step=from_step if part == "encoder" else 0)
        for part, lr in KINDS[kind].items()
    }
    return learning_rates([name for name, _ in model.named_parameters()], parts)


def fitted(kind, layout):
    """A run of this rank, or of the only process."""
    torch.set_num_threads(1)
    model, num_ranks = tiny(kind), world_size()
    recompute_layers(model, layout.recomputed)
    rates = rates_in(model, kind, layout.from_step)
    strategy, tensor_parallel = TokenSumDDPStrategy() if num_ranks > 1 else "auto", 1
    if layout.num_groups and num_ranks > 1:
        tensor_parallel = layout.tensor_parallel
        mesh = new_mesh(
            "cpu", num_groups=layout.num_groups, num_ranks=num_ranks, tensor_parallel=tensor_parallel
        )
        strategy = FSDP2Strategy(mesh, cpu_offload=layout.settings.get("cpu_offload", False))
        shard(model, mesh, trained=[name for name, rate in rates.items() if rate], **layout.settings)
    commit(layout.fault, model)
    share = len(PACKS) * tensor_parallel // num_ranks
    first = rank() // tensor_parallel * share
    seen = Seen(before=weights_in(dict(model.named_parameters())))
    module = Watched(
        model,
        rate_of=rates,
        factor=lambda step: 1.0,
        optimizer=OptimizerConfig(clip=layout.clip),
        tensor_parallel=1 if layout.fault == "packs heard by two counted twice" else tensor_parallel,
        log_every=1,
        seen=seen,
        layout=layout,
    )
    trainer = Trainer(
        accelerator="cpu",
        precision=layout.precision,
        devices=num_ranks,
        strategy=strategy,
        use_distributed_sampler=False,
        max_steps=layout.steps,
        max_epochs=-1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        val_check_interval=layout.from_step or None,
        check_val_every_n_epoch=None,
        limit_val_batches=None if layout.from_step else 0,
        callbacks=[Losses(seen)],
    )
    heard = DataLoader([tuple(PACKS[first : first + share])] * layout.steps, batch_size=None)
    num_data_parallel_ranks = num_ranks // tensor_parallel
    held_out = [*PACKS[:3], *[PACKS[0].without_labels()] * (-3 % num_data_parallel_ranks)][
        rank() // tensor_parallel :: num_data_parallel_ranks
    ]
    trainer.fit(module, heard, DataLoader([(pack,) for pack in held_out], batch_size=None))
    seen.after = weights_in(dict(model.named_parameters()))
    local = [one.to_local() if hasattr(one, "to_local") else one for one in model.parameters()]
    seen.num_local = sum(one.numel() for one in local)
    states = [value for state in trainer.optimizers[0].state.values() for value in state.values()]
    seen.num_states = sum((one.to_local() if hasattr(one, "to_local") else one).numel() for one in states)
    assert trainer.global_step == layout.steps
    return seen


def commit(fault, model):
    """A fault that no check finds; of all others, this process is free again."""
    if fault == "averaged":
        for unit in (module for module in model.modules() if isinstance(module, FSDPModule)):
            unit.set_gradient_divide_factor(float(world_size()))
    next_token.sum_gradients = (lambda parameters: None) if fault == "not added up" else sum_gradients
    torch.distributed.all_reduce = in_groups_only if fault == "not added up over groups" else ALL_REDUCE


def in_groups_only(tensor, *args, group=None, **kwargs):
    return None if group is not None else ALL_REDUCE(tensor, *args, **kwargs)


def differences(one, other):
    """Largest relative difference of losses, of whole gradients and of trained weights."""
    losses = max(abs(a - b) / abs(a) for a, b in zip(one.losses, other.losses, strict=True))
    assert one.gradients.keys() == other.gradients.keys()
    gradients = max(apart(one.gradients[step], other.gradients[step]) for step in one.gradients)
    return losses, gradients, apart(one.after, other.after)


def apart(one, other):
    assert one.keys() == other.keys()
    squares = sum(np.square(one[name].astype("f8") - other[name]).sum() for name in one)
    return float(np.sqrt(squares / sum(np.square(value.astype("f8")).sum() for value in one.values())))


SHARED = Layout(1)
LAYOUTS = {
    2: {
        "gradients added up": Layout(),
        "fsdp": SHARED,
        "frozen parts shared out": Layout(1, settings={"shard_frozen": True}),
        "tensor parallel": Layout(1, tensor_parallel=2),
    },
    4: {
        "gradients added up": Layout(),
        "fsdp": SHARED,
        "hybrid, two groups of two": Layout(2),
        "tensor parallel, shared out by two": Layout(1, tensor_parallel=2),
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
CLIPPED = replace(SHARED, clip=0.1, steps=10)
SPOILED = "a step that is spoiled on one rank"
CASES[2] |= {
    ("all", "a part that thaws"): replace(SHARED, from_step=5, steps=10),
    ("all", SPOILED): replace(SHARED, spoil=(3,), steps=10),
    ("all", "a step that is spoiled on one of two whole models"): Layout(spoil=(3,), steps=10),
    ("all", "what is shared out is away between its uses"): replace(
        CLIPPED, settings={"cpu_offload": True}, steps=5
    ),
    ("all", "layers computed again"): replace(SHARED, recomputed=("encoder", "language_model"), steps=10),
}
CASES[2] |= {
    ("all", "clipped"): CLIPPED,
    ("encoder", "clipped, frozen parts shared out"): replace(CLIPPED, settings={"shard_frozen": True}),
}
CASES[4] |= {
    ("all", "a part that thaws, tensor parallel"): replace(SHARED, from_step=5, steps=10, tensor_parallel=2),
    ("all", "the same again"): SHARED,
    ("all", "clipped, two groups of two"): replace(CLIPPED, num_groups=2),
    ("all", "clipped, tensor parallel"): replace(CLIPPED, tensor_parallel=2),
}
FAULTS = {
    2: {
        ("all", "averaged"): SHARED,
        ("lora", "not added up"): Layout(),
        ("encoder", "normalised by each rank"): SHARED,
        ("language model", "normalised by each rank"): Layout(),
        ("all", "packs heard by two counted twice"): Layout(1, tensor_parallel=2),
    },
    4: {("all", "not added up over groups"): Layout(2)},
}
"""What the comparison is for: each makes another gradient without an error."""
for num_ranks, faults in FAULTS.items():
    CASES[num_ranks] |= {case: replace(layout, fault=case[1], steps=2) for case, layout in faults.items()}


@pytest.fixture(scope="module", params=sorted(CASES))
def launched(request):
    """Of each scenario what every rank has seen."""
    cases = CASES[request.param]
    each = on_ranks(
        request.param, together(lambda number: {case: fitted(case[0], cases[case]) for case in cases})
    )
    return request.param, {case: [seen[case] for seen in each] for case in cases}


def sound(num_ranks, found):
    return {case: each for case, each in found.items() if case not in FAULTS[num_ranks]}


@pytest.fixture(scope="module")
def alone():
    """One process with all packs; each run once."""
    known = {}

    def run(kind, layout):
        like = replace(layout, num_groups=None, tensor_parallel=1, settings={}, recomputed=(), fault="")
        if (kind, str(like)) not in known:
            known[kind, str(like)] = fitted(kind, like)
        return known[kind, str(like)]

    return run


@pytest.mark.slow
def test_ranks_learn_what_one_process_learns_and_frozen_parts_stay_as_they_were(launched, alone):
    num_ranks, found = launched
    for case, each in sound(num_ranks, found).items():
        kind, layout = case[0], CASES[num_ranks][case]
        reference = alone(kind, layout)
        frozen = {part for part, lr in KINDS[kind].items() if lr is None}
        for seen in each:
            distance = differences(reference, seen)
            print(num_ranks, *case, *(f"{one:.1e}" for one in distance))
            assert max(distance) < SAME, (case, distance)
            assert seen.val_losses == pytest.approx(reference.val_losses, rel=1e-6)
            assert len(seen.val_losses) == (layout.steps // layout.from_step if layout.from_step else 0)
            for name, value in seen.before.items():
                is_frozen = name.partition(".")[0] in frozen and "lora_" not in name
                is_still = np.array_equal(value, seen.after[name])
                assert is_still or not is_frozen, (case, name)
        moved = {
            name.partition(".")[0]
            for name, value in each[0].before.items()
            if (value != each[0].after[name]).any()
        }
        assert moved == {part.removesuffix("_lora") for part, lr in KINDS[kind].items() if lr}, case


@pytest.mark.slow
def test_all_ranks_see_the_same_and_the_same_again(launched):
    num_ranks, found = launched
    for case, each in sound(num_ranks, found).items():
        assert all(seen.losses == each[0].losses for seen in each), case
        assert all(apart(each[0].after, seen.after) == 0 for seen in each), case
    if num_ranks == 4:
        first, second = found["all", "fsdp"][0], found["all", "the same again"][0]
        assert first.losses == second.losses
        assert apart(first.after, second.after) == 0


@pytest.mark.slow
def test_what_learns_and_its_optimizer_are_shared_out_evenly(launched, alone):
    num_ranks, found = launched
    whole_run = alone("all", SHARED)
    for seen in found["all", "fsdp"]:
        assert seen.num_local == pytest.approx(whole_run.num_local / num_ranks, rel=0.05)
        assert seen.num_states == pytest.approx(whole_run.num_states / num_ranks, rel=0.05)
    for seen in found["all", "gradients added up"]:
        assert seen.num_local == whole_run.num_local
    frozen = found["encoder", "fsdp"][0].num_local
    assert frozen > 0.5 * whole_run.num_local  # the language model is whole
    if num_ranks == 2:
        assert found["encoder", "frozen parts shared out"][0].num_local < 0.6 * whole_run.num_local


@pytest.mark.slow
def test_a_step_that_is_not_finite_on_one_rank_is_left_out_on_all(launched, alone):
    num_ranks, found = launched
    if num_ranks != 2:
        return
    plain, spoiled = found["all", "fsdp"][0], found["all", SPOILED][0]
    assert spoiled.losses[:3] == plain.losses[:3]
    assert spoiled.losses[4:] == plain.losses[3:9]  # as if the step had not been


@pytest.mark.slow
def test_computing_layers_again_changes_nothing(launched):
    num_ranks, found = launched
    if num_ranks != 2:
        return
    again, plain = found["all", "layers computed again"][0], found["all", "fsdp"][0]
    assert again.losses == plain.losses[:10]


@pytest.mark.slow
def test_each_fault_would_be_noticed(launched, alone):
    num_ranks, found = launched
    for case in FAULTS[num_ranks]:
        reference = alone(case[0], CASES[num_ranks][case])
        gradients = min(differences(reference, seen)[1] for seen in found[case])
        print(num_ranks, *case, f"{gradients:.1e}")
        assert gradients > 0.1, case


@pytest.mark.slow
def test_gradients_that_are_not_clipped_would_be_noticed(alone):
    clipped, free = (alone("all", replace(CLIPPED, clip=clip)) for clip in (0.1, 0.0))
    assert differences(clipped, free)[1] > 0.1


def _stepped(is_shared, settings):
    """Weights after three steps on gradients that are the same however they are shared out."""
    model = tiny("all")
    rates = rates_in(model, "all")
    if is_shared:
        mesh = new_mesh("cpu", num_groups=1, num_ranks=world_size())
        shard(model, mesh, trained=rates)
    optimizer = build_optimizer(model, rates, settings)
    for step in range(3):
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"]
        for number, parameter in enumerate(model.parameters()):
            chance = torch.Generator().manual_seed(1000 * step + number)
            whole_gradient = torch.randn(parameter.shape, generator=chance)
            parameter.grad = torch.zeros_like(parameter)
            copy_to_local(parameter.grad, whole_gradient)
        optimizer.step()
    return weights_in(dict(model.named_parameters()))


@pytest.mark.slow
def test_muon_takes_the_step_of_the_whole_matrix():
    settings = OptimizerConfig(kind="muon", weight_decay=0.1)
    one, other = on_ranks(2, together(lambda number: _stepped(True, settings)))
    alone = _stepped(False, settings)
    assert apart(one, other) == 0
    assert apart(alone, one) < 1e-7
    assert apart(alone, _stepped(False, replace(settings, weight_decay=0.2))) > 1e-4  # this could fail


def _learned_alone(number):
    """A unit that was forgotten, and what the ranks make of it without the check."""
    model = tiny("all")
    mesh = new_mesh("cpu", num_groups=1, num_ranks=2)
    trained = [name for name, _ in model.named_parameters()]
    forgotten = [name for name in trained if not name.startswith("projector")]
    shard(model, mesh, trained=forgotten)
    model.loss(PACKS[number]).total.backward()
    seen = model.projector.linear.weight.grad.numpy().copy()
    message = ""
    module = NextTokenModule(
        model,
        rate_of=rates_in(model, "all"),
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
    check_sharded(model, forgotten)
    return seen, message, trainer.global_step


@pytest.mark.slow
def test_a_trained_parameter_that_is_not_shared_out_is_refused_by_name_before_the_first_step():
    (one, message, steps), (other, _, _) = on_ranks(2, together(_learned_alone))
    assert "2 trained parameters are not shared out" in message
    assert "projector.linear.weight" in message
    assert steps == 0
    assert not np.allclose(one, other)  # what it saves from: each rank with a gradient of its own


def _reductions(number):
    """Sums of gradients over the ranks in a step of two packs, with and without a wait for the last one."""
    name = next(  # the later one since torch 2.13
        one for one in ("reduce_scatter_single", "reduce_scatter_tensor") if hasattr(torch.distributed, one)
    )
    counts, count, scatter = [], [0], getattr(torch.distributed, name)

    def counted(*args, **kwargs):
        count[0] += 1
        return scatter(*args, **kwargs)

    setattr(torch.distributed, name, counted)  # of this forked process
    for waits in (True, False):
        model = tiny("all")
        shard(
            model,
            new_mesh("cpu", num_groups=1, num_ranks=2),
            trained=[name for name, _ in model.named_parameters()],
        )
        before = count[0]
        for pack in PACKS[:2]:
            set_gradient_sync(model, is_last=pack is PACKS[1] or not waits)
            model.loss(pack).total.backward()
        counts.append(count[0] - before)
        names = [name for name, one in model.named_parameters() if one.grad is None]
        assert not names, names
    return counts, len(fsdp_units(tiny("all"))) + 1


@pytest.mark.slow
def test_gradients_travel_once_a_step_and_unit_however_many_packs_it_has():
    ((once, each_time), num_units), _ = on_ranks(2, together(_reductions))
    assert once == num_units
    assert each_time == 2 * num_units


def _unequal(number):
    with pytest.raises(ValueError, match="expected as many each"):
        fitted_on(PACKS[: 1 + number])
    return True


def fitted_on(packs):
    model = tiny("all")
    module = NextTokenModule(
        model, rate_of=rates_in(model, "all"), factor=lambda step: 1.0, optimizer=OptimizerConfig()
    )
    module._num_learned(packs)


@pytest.mark.slow
def test_ranks_with_unequal_numbers_of_packs_say_so_and_do_not_wait():
    assert on_ranks(2, together(_unequal)) == [True, True]


def _half(number):
    layout = replace(SHARED, precision="bf16-mixed", settings={"is_half": True}, steps=5)
    return fitted("all", layout)


@pytest.mark.slow
def test_in_half_precision_weights_and_sums_stay_in_32_bits_and_losses_are_alike():
    one, _ = on_ranks(2, together(_half))
    alone = fitted("all", Layout(precision="bf16-mixed", steps=5))
    assert one.losses == pytest.approx(alone.losses, rel=1e-2)
    assert one.losses != alone.losses
    assert {value.dtype for value in (*one.after.values(), *one.gradients[0].values())} == {np.dtype("f4")}


def test_units_are_layers_and_the_output_layer_belongs_to_the_model_itself():
    model = tiny("all")
    found = [name for name, module in model.named_modules() if module in fsdp_units(model)]
    assert len(found) == 2 + 2
    assert all(".layers." in name for name in found)


def with_language_model(**settings):
    language_model = replace(TINY.language_model, **settings)
    return build_model(replace(TINY, language_model=language_model), num_base=50, num_new=3)


def test_a_language_model_that_cannot_be_cut_is_refused():
    check_tensor_parallel(tiny("all"), 2)
    settings = TINY.language_model.settings
    with pytest.raises(RecipeError, match=r"num_attention_heads.*no multiples"):
        check_tensor_parallel(with_language_model(settings=settings | {"num_attention_heads": 1}), 2)
    with pytest.raises(RecipeError, match=r"knows nothing of .*self_attn.q_norm"):
        check_tensor_parallel(with_language_model(architecture="qwen3"), 2)
    with pytest.raises(RecipeError, match=r"knows nothing of .*lora_A"):
        check_tensor_parallel(tiny("lora"), 2)
