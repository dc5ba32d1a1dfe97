"""Training of a tiny model on ranks in every layout, with and without a fault."""

from dataclasses import dataclass, field

import numpy as np
import torch
from lightning import Callback, Trainer
from torch.distributed.fsdp import FSDPModule
from torch.utils.data import DataLoader

from audio_lm.common.env import rank, world_size
from audio_lm.model.weights.shards import full_tensor
from audio_lm.training import step
from audio_lm.training.compile import recompute_layers
from audio_lm.training.config import OptimizerConfig, PartConfig
from audio_lm.training.distributed import FSDP2Strategy, TokenSumDDPStrategy, sum_gradients
from audio_lm.training.fsdp import (
    new_mesh,
    shard,
)
from audio_lm.training.next_token import NextTokenModule
from audio_lm.training.param_groups import learning_rates
from tests.training.tiny import PACKS, tiny

STEPS, RECORDED_STEPS = 20, (0, 9, 19)
TOLERANCE = 1e-5  # relative
ALL_REDUCE = torch.distributed.all_reduce
FROZEN = dict.fromkeys(("encoder", "projector", "new_tokens", "language_model"))
KINDS = {
    "encoder": FROZEN | {"encoder": 1e-3, "projector": 1e-3},
    "language model": FROZEN | {"language_model": 1e-3, "new_tokens": 1e-3},
    "lora": FROZEN | {"language_model_lora": 1e-3, "projector": 1e-3},
    "all": dict.fromkeys(FROZEN, 1e-3),
}


@dataclass(frozen=True)
class Layout:
    """Parallelism and settings of a run; without groups the model is replicated."""

    num_groups: int | None = None
    tensor_parallel: int = 1
    settings: dict = field(default_factory=dict)
    clip: float = 0.0
    from_step: int = 0
    steps: int = STEPS
    nonfinite_steps: tuple[int, ...] = ()
    recomputed: tuple[str, ...] = ()
    precision: str = "32-true"
    fault: str = ""


@dataclass
class RunResult:
    """Losses, gradients and weights of a run."""

    losses: list = field(default_factory=list)
    val_losses: list = field(default_factory=list)
    gradients: dict = field(default_factory=dict)
    before: dict = field(default_factory=dict)
    after: dict = field(default_factory=dict)
    num_local: int = 0
    num_states: int = 0
    num_reductions: int = 0


class RecordingModule(NextTokenModule):
    """Records the gradients that the optimizer gets, and makes some of them NaN."""

    def __init__(self, *args, result, layout, **settings):
        super().__init__(*args, **settings)
        self.result, self.nonfinite_steps, self.fault = result, layout.nonfinite_steps, layout.fault

    def manual_backward(self, loss, *args, **kwargs):
        if self.global_step in self.nonfinite_steps and rank() == world_size() - 1:
            loss = loss * float("nan")
        super().manual_backward(loss, *args, **kwargs)

    def _num_counted(self, packs):
        if self.fault == "normalised by each rank":
            return float(sum(pack.num_learned for pack in packs))
        return super()._num_counted(packs)

    def on_before_optimizer_step(self, optimizer):
        if self.global_step in RECORDED_STEPS:
            self.result.gradients[self.global_step] = full_values(
                {
                    name: parameter.grad
                    for name, parameter in self.model.named_parameters()
                    if parameter.grad is not None
                }
            )


class RecordLosses(Callback):
    def __init__(self, result):
        self.result = result

    def on_train_batch_end(self, trainer, *_):
        self.result.losses.append(float(trainer.callback_metrics.get("train_loss/all", 0.0)))

    def on_validation_end(self, trainer, *_):
        self.result.val_losses.append(float(trainer.callback_metrics["val_loss/all"]))


def full_values(tensors):
    return {name: full_tensor(tensor).numpy().copy() for name, tensor in tensors.items()}


def rates_of(model, kind, from_step=0):
    parts = {
        part: PartConfig(lr=lr, from_step=from_step if part == "encoder" else 0)
        for part, lr in KINDS[kind].items()
    }
    return learning_rates([name for name, _ in model.named_parameters()], parts)


def train(kind, layout):
    """Train on this rank, or in the only process."""
    torch.set_num_threads(1)
    model, num_ranks = tiny(kind), world_size()
    recompute_layers(model, layout.recomputed)
    rates = rates_of(model, kind, layout.from_step)
    strategy, tensor_parallel = TokenSumDDPStrategy() if num_ranks > 1 else "auto", 1
    if layout.num_groups and num_ranks > 1:
        tensor_parallel = layout.tensor_parallel
        mesh = new_mesh(
            "cpu", num_groups=layout.num_groups, num_ranks=num_ranks, tensor_parallel=tensor_parallel
        )
        strategy = FSDP2Strategy(mesh, cpu_offload=layout.settings.get("cpu_offload", False))
        shard(model, mesh, trained=[name for name, rate in rates.items() if rate], **layout.settings)
    inject_fault(layout.fault, model)
    share = len(PACKS) * tensor_parallel // num_ranks
    first = rank() // tensor_parallel * share
    result = RunResult(before=full_values(dict(model.named_parameters())))
    module = RecordingModule(
        model,
        rate_of=rates,
        factor=lambda step: 1.0,
        optimizer=OptimizerConfig(clip=layout.clip),
        tensor_parallel=1 if layout.fault == "tensor-parallel packs counted twice" else tensor_parallel,
        log_every=1,
        result=result,
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
        callbacks=[RecordLosses(result)],
    )
    loader = DataLoader([tuple(PACKS[first : first + share])] * layout.steps, batch_size=None)
    num_data_parallel_ranks = num_ranks // tensor_parallel
    padded = [*PACKS[:3], *[PACKS[0].without_labels()] * (-3 % num_data_parallel_ranks)]
    held_out = padded[rank() // tensor_parallel :: num_data_parallel_ranks]
    trainer.fit(module, loader, DataLoader([(pack,) for pack in held_out], batch_size=None))
    result.after = full_values(dict(model.named_parameters()))
    result.num_local = num_local_values(model.parameters())
    states = [value for state in trainer.optimizers[0].state.values() for value in state.values()]
    result.num_states = num_local_values(states)
    assert trainer.global_step == layout.steps
    return result


def num_local_values(tensors):
    return sum((tensor.to_local() if hasattr(tensor, "to_local") else tensor).numel() for tensor in tensors)


def inject_fault(fault, model):
    """Inject a fault that raises no error, and remove that of the run before."""
    if fault == "averaged":
        for unit in (module for module in model.modules() if isinstance(module, FSDPModule)):
            unit.set_gradient_divide_factor(float(world_size()))
    step.sum_gradients = (lambda parameters: None) if fault == "not summed" else sum_gradients
    torch.distributed.all_reduce = skip_group_all_reduce if fault == "not summed over groups" else ALL_REDUCE


def skip_group_all_reduce(tensor, *args, group=None, **kwargs):
    return None if group is not None else ALL_REDUCE(tensor, *args, **kwargs)


def distances(reference, result):
    """Relative distances: the largest of the losses, the largest of the steps' gradients, and of the weights."""
    losses = max(abs(a - b) / abs(a) for a, b in zip(reference.losses, result.losses, strict=True))
    assert reference.gradients.keys() == result.gradients.keys()
    gradients = max(
        relative_distance(reference.gradients[number], result.gradients[number])
        for number in reference.gradients
    )
    return losses, gradients, relative_distance(reference.after, result.after)


def relative_distance(reference, values):
    assert reference.keys() == values.keys()
    squares = sum(np.square(reference[name].astype("f8") - values[name]).sum() for name in reference)
    return float(np.sqrt(squares / sum(np.square(value.astype("f8")).sum() for value in reference.values())))
