"""Next-token training: the stages of pre-training and of supervised fine-tuning.

Owns when things happen; what happens is in the model, ``losses``, ``parts``
and ``schedules``. One batch is everything a rank hears in one optimizer step. A step whose gradient
is not finite on any rank is left out on all of them, and still counts as a step.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from lightning import LightningModule

from audio_lm.common.env import rank, world_size
from audio_lm.common.errors import DataError
from audio_lm.common.packed_batch import PackedBatch
from audio_lm.common.rng import key_of
from audio_lm.model.audio_lm import AudioLM
from audio_lm.training.config import OptimizerConfig
from audio_lm.training.distributed import (
    FSDP2Strategy,
    all_reduce_sum,
    gradient_norm,
    scale_gradients,
    sum_gradients,
)
from audio_lm.training.fsdp import check_sharded, reshard, set_gradient_sync, unfreeze
from audio_lm.training.losses import LossSums, TaskLoss, sums_by_task
from audio_lm.training.optimizers import build_optimizer
from audio_lm.training.param_groups import Rate

Keep = Callable[[int, Sequence[PackedBatch]], Path]
CLIP_EPSILON = 1e-6  # of torch's own clipping


class NextTokenModule(LightningModule):
    """Teaches an audio-language model to continue conversations."""

    def __init__(
        self,
        model: AudioLM,
        *,
        rate_of: Mapping[str, Rate | None],
        factor: Callable[[int], float],
        optimizer: OptimizerConfig,
        tensor_parallel: int = 1,
        is_half: bool = False,
        keep: Keep | None = None,
        log_every: int = 10,
        seed: int = 0,
    ) -> None:
        """Freeze what has no rate.

        Args:
            rate_of: the rate of every parameter of ``model``, from ``learning_rates``.
            factor: what the peak rates are multiplied by at a step.
            tensor_parallel: ranks that hear the same packs.
            is_half: the model computes in bf16, and so may the optimizer.
            keep: writes down the packs of a step whose gradient is not finite, and says where.
            seed: of dropout, which falls the same on a pack whoever hears it and however often it is heard again.
        """
        super().__init__()
        self.automatic_optimization = (
            False  # the loss is divided by the tokens of all packs, known only together
        )
        self.model = model
        self.rate_of = rate_of
        self.factor = factor
        self.optimizer = optimizer
        self.tensor_parallel = tensor_parallel
        self.is_half = is_half
        self.keep = keep
        self.log_every = log_every
        self.seed = seed
        self.num_nonfinite = self.num_nonfinite_in_a_row = 0
        self.train_loss, self.val_loss = (TaskLoss(tensor_parallel=tensor_parallel) for _ in range(2))
        for name, parameter in model.named_parameters():
            rate = rate_of[name]
            parameter.requires_grad_(rate is not None and rate.from_step == 0)

    @property
    def nonfinite(self) -> tuple[int, int]:
        """Steps left out so far, and how many of them one after the other up to now; a stage goes on counting."""
        return self.num_nonfinite, self.num_nonfinite_in_a_row

    @nonfinite.setter
    def nonfinite(self, counts: tuple[int, int]) -> None:
        self.num_nonfinite, self.num_nonfinite_in_a_row = counts

    def configure_model(self) -> None:
        """Refuse to begin with something that learns and is not shared out.

        Raises:
            ValueError: names it.
        """
        if isinstance(self.trainer.strategy, FSDP2Strategy):
            check_sharded(self.model, [name for name, rate in self.rate_of.items() if rate is not None])

    def training_step(self, packs: tuple[PackedBatch, ...], batch_idx: int) -> None:
        step = self.global_step
        optimizer = self.optimizers()
        unfreeze(
            self.model, [name for name, rate in self.rate_of.items() if rate and step >= rate.from_step > 0]
        )
        num_learned = self._num_learned(packs)
        sums: list[LossSums] = []
        first = rank() // self.tensor_parallel * len(packs)
        for number, pack in enumerate(packs, start=1):
            torch.manual_seed(key_of(self.seed, "dropout", step, first + number - 1))
            set_gradient_sync(self.model, is_last=number == len(packs))
            loss = self.model.loss(pack, weight=1 / num_learned)
            self.manual_backward(loss.total)
            sums.append(sums_by_task(loss.losses, pack.task_index, pack.tasks))
        sum_gradients(self.model.parameters())
        norm = gradient_norm(self.model.parameters())
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * self.factor(step)
        if math.isfinite(norm):
            self._clip(norm)
        else:
            self._leave_out(step, packs)
            sums.clear()
        self.train_loss.update(sums)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if (step + 1) % self.log_every == 0:
            values = _compute_and_reset("train_loss", self.train_loss)
            values["lr"] = max(group["lr"] for group in optimizer.param_groups)
            values["nonfinite_steps"] = float(self.num_nonfinite)
            # Lightning would log them again at every step until the next are there, and so not after a restart.
            self.log_dict(values, batch_size=1, logger=False)
            if self.logger is not None:
                self.logger.log_metrics(values, step=step)

    def _num_learned(self, packs: Sequence[PackedBatch]) -> float:
        """Learned tokens of all ranks.

        Raises:
            ValueError: ranks have unequal numbers of packs, and would wait for each other.
        """
        count = float(len(packs))
        learned, counts, squares = all_reduce_sum(
            sum(pack.num_learned for pack in packs), count, count * count
        )
        if squares * world_size() != counts * counts:
            raise ValueError(
                f"this rank has {len(packs)} packs and others have another number of the {counts:.0f}; expected as many "
                f"each; deal the packs of a step out equally"
            )
        return max(1.0, learned / self.tensor_parallel)

    def _clip(self, norm: float) -> None:
        self.num_nonfinite_in_a_row = 0
        if self.optimizer.clip and norm > self.optimizer.clip:
            scale_gradients(self.model.parameters(), self.optimizer.clip / (norm + CLIP_EPSILON))

    def _leave_out(self, step: int, packs: Sequence[PackedBatch]) -> None:
        """Let a step go by without a change of weights or of the optimizer.

        Raises:
            DataError: it is the last of too many in a row.
        """
        self.num_nonfinite += 1
        self.num_nonfinite_in_a_row += 1
        if self.num_nonfinite_in_a_row >= self.optimizer.max_nonfinite:
            kept = self.keep(step, packs) if self.keep else None
            raise DataError(
                f"step {step}: the gradient was not finite {self.num_nonfinite_in_a_row} steps in a row -- a finite one was "
                f"expected -- {f'see `audio-lm replay {kept}`' if kept else 'lower the learning rate or look at the clips'}"
            )
        for parameter in self.model.parameters():
            parameter.grad = None

    def validation_step(
        self, packs: tuple[PackedBatch, ...], batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        for pack in packs:
            losses_P = self.model.loss(pack).losses
            self.val_loss.update([sums_by_task(losses_P, pack.task_index, pack.tasks)])

    def on_validation_epoch_end(self) -> None:
        reshard(self.model)
        self.log_dict(_compute_and_reset("val_loss", self.val_loss), batch_size=1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return build_optimizer(self.model, self.rate_of, self.optimizer, is_half=self.is_half)


def _compute_and_reset(name: str, loss: TaskLoss) -> dict[str, float]:
    """Values of all ranks since the last reset."""
    values = {f"{name}/{task}": value for task, value in loss.compute().items()}
    loss.reset()
    return values
