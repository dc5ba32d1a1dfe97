"""One optimizer step over the packs of a batch; subclasses define the loss.

The gradient is the sum over all packs of all ranks divided by their number of learned tokens, so it does not depend
on how packs are divided over ranks. A step whose gradient is not finite on any rank is skipped on all of them, and
still counts as a step.

A step reads nothing from the device, except where it is logged: the optimizer itself skips a step, and norms and
losses are read later, see ``step_records``.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

import torch
from lightning import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor

from audio_lm.common.env import rank, world_size
from audio_lm.common.errors import DataError
from audio_lm.common.packed_batch import PackedBatch
from audio_lm.common.rng import key_of
from audio_lm.common.transfer import is_on_host
from audio_lm.model.audio_lm import AudioLM
from audio_lm.training.config import OptimizerConfig
from audio_lm.training.distributed import (
    FSDP2Strategy,
    all_reduce_sum,
    clip_gradients,
    gradient_norm,
    sum_gradients,
)
from audio_lm.training.fsdp import check_sharded, reshard, set_gradient_sync, unfreeze
from audio_lm.training.losses import LossSums, TaskLoss, TaskMeasures
from audio_lm.training.optimizers import build_optimizer, skip_next_step_if
from audio_lm.training.param_groups import Rate
from audio_lm.training.schedules import RateFactor, StepSchedule
from audio_lm.training.step_records import StepRecord, StepRecords, counted_sums


class StepLoss(NamedTuple):
    """Loss of one pack."""

    total: Tensor
    """Differentiated; a scalar."""

    sums: LossSums
    """Sum and count of each task, for the curves."""

    measures: Mapping[str, LossSums] = {}
    """Further curves: name -> sum and count of each task."""


class KeepPacks(Protocol):
    """Writer of the packs of a failed step."""

    def __call__(self, step: int, packs: Sequence[PackedBatch]) -> Path:
        """Write the packs; returns their file."""


class TrainStep(LightningModule, ABC):
    """Base of all objectives: gradient accumulation, clipping, skipped steps, learning rates, curves per task."""

    def __init__(
        self,
        model: AudioLM,
        *,
        rate_of: Mapping[str, Rate | None],
        factor: RateFactor,
        optimizer: OptimizerConfig,
        tensor_parallel: int = 1,
        is_half: bool = False,
        keep: KeepPacks | None = None,
        log_every: int = 10,
        seed: int = 0,
    ) -> None:
        """Freeze the parameters without a rate.

        Args:
            rate_of: of every parameter of ``model``, from ``learning_rates``; None freezes it.
            factor: of the peak rates, as a function of the step.
            tensor_parallel: ranks that train on the same packs.
            is_half: the model computes in bf16, and so may the optimizer.
            keep: writer of the packs of a step whose gradient is not finite.
            seed: of dropout, which depends on step and pack and not on the rank.
        """
        super().__init__()
        # The loss is divided by the tokens of all packs of all ranks, which no single pack knows.
        self.automatic_optimization = False
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
        self.records = StepRecords()
        self.skipped_in_a_row: Tensor | None = None  # on the device, ahead of the number that has been read
        self.step_sums: Sequence[
            LossSums
        ] = ()  # of the last step's packs on this rank; zeros if it was skipped
        self.train_loss, self.val_loss = (TaskLoss(tensor_parallel=tensor_parallel) for _ in range(2))
        self.train_measures, self.val_measures = (
            TaskMeasures(tensor_parallel=tensor_parallel) for _ in range(2)
        )
        for name, parameter in model.named_parameters():
            rate = rate_of[name]
            parameter.requires_grad_(rate is not None and rate.from_step == 0)

    @abstractmethod
    def compute_loss(self, pack: PackedBatch, weight: float = 1.0) -> StepLoss:
        """Compute the loss of one pack.

        Args:
            weight: factor of the total; of the sums for the curves it is none.
        """

    def prepare_packs(self, packs: Sequence[PackedBatch], step: int) -> Sequence[PackedBatch]:
        """Packs of a step as they are learned; a subclass samples answers to those of the data."""
        return packs

    def further_curves(self) -> dict[str, float]:
        """Further values of the curves; a collective."""
        return {}

    def num_counted(self, pack: PackedBatch) -> int:
        """Count what the loss of a step is divided by: learned tokens, unless a subclass counts something else."""
        return pack.num_learned

    @property
    def nonfinite(self) -> tuple[int, int]:
        """Steps skipped in this stage, and skipped in a row, of those that have been read."""
        return self.num_nonfinite, self.num_nonfinite_in_a_row

    @nonfinite.setter
    def nonfinite(self, counts: tuple[int, int]) -> None:
        self.num_nonfinite, self.num_nonfinite_in_a_row = counts
        self.skipped_in_a_row = None

    def configure_model(self) -> None:
        """Refuse to train parameters that FSDP2 has not sharded.

        Raises:
            ValueError: names one of them.
        """
        if isinstance(self.trainer.strategy, FSDP2Strategy):
            check_sharded(self.model, [name for name, rate in self.rate_of.items() if rate is not None])

    def configure_optimizers(self) -> Any:
        optimizer = build_optimizer(self.model, self.rate_of, self.optimizer, is_half=self.is_half)
        return {"optimizer": optimizer, "lr_scheduler": StepSchedule(optimizer, self.factor)}

    def on_train_start(self) -> None:
        self._schedule().seek(self.global_step)

    def training_step(self, packs: Sequence[PackedBatch], batch_idx: int) -> None:
        step = self.global_step
        optimizer = cast(LightningOptimizer, self.optimizers())  # one, always
        unfreeze(
            self.model, [name for name, rate in self.rate_of.items() if rate and step >= rate.from_step > 0]
        )
        packs = self.prepare_packs(packs, step)
        losses = self._accumulate(packs, step)
        sum_gradients(self.model.parameters())
        norm = gradient_norm(self.model.parameters())
        if self.optimizer.clip:
            clip_gradients(self.model.parameters(), norm, self.optimizer.clip)
        skip_next_step_if(self._is_skipped(norm), optimizer.optimizer)
        sums = [loss.sums for loss in losses]
        self.step_sums = counted_sums(sums, norm)
        kept = packs if self.keep else ()
        self.records.append(StepRecord(step, kept, norm, sums, [loss.measures for loss in losses]))
        is_logged = (step + 1) % self.log_every == 0
        if is_logged or is_on_host(norm):
            self.read_records()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if is_logged:
            self._log_curves(step)
        self._schedule().seek(step + 1)

    def _is_skipped(self, norm: Tensor) -> Tensor:
        """Condition to skip a step, a scalar of the device: its gradient is not finite, or too many before were not.

        The run stops when those are read. Until then its weights stay those of the last of them, which is replayed.
        """
        if self.skipped_in_a_row is None:
            self.skipped_in_a_row = norm.new_full((), self.num_nonfinite_in_a_row)
        is_skipped = norm.isnan() | (self.skipped_in_a_row >= self.optimizer.max_nonfinite)
        self.skipped_in_a_row = torch.where(is_skipped, self.skipped_in_a_row + 1, 0.0)
        return is_skipped

    def read_records(self) -> None:
        """Read the results of the steps since the last reading, which waits for the device; all ranks together.

        Raises:
            DataError: too many steps in a row were skipped.
        """
        for record, is_finite in self.records.read():
            if is_finite:
                self.num_nonfinite_in_a_row = 0
                self.train_loss.update(record.sums)
                self.train_measures.add(record.measures)
            else:
                self._count_skipped(record)

    def _accumulate(self, packs: Sequence[PackedBatch], step: int) -> list[StepLoss]:
        """Add up the gradients of all packs of this rank."""
        num_counted = self._num_counted(packs)
        losses: list[StepLoss] = []
        first = rank() // self.tensor_parallel * len(packs)
        for number, pack in enumerate(packs, start=1):
            torch.manual_seed(key_of(self.seed, "dropout", step, first + number - 1))
            set_gradient_sync(self.model, is_last=number == len(packs))
            loss = self.compute_loss(pack, weight=1 / num_counted)
            self.manual_backward(loss.total)
            losses.append(loss._replace(total=loss.total.detach()))
        return losses

    def _num_counted(self, packs: Sequence[PackedBatch]) -> float:
        """Divisor of the loss, summed over all ranks.

        Raises:
            ValueError: ranks have unequal numbers of packs, and would wait for each other.
        """
        count = float(len(packs))
        counted, counts, squares = all_reduce_sum(
            sum(self.num_counted(pack) for pack in packs), count, count * count
        )
        if squares * world_size() != counts * counts:
            raise ValueError(
                f"this rank has {len(packs)} packs and others have another number of the {counts:.0f}; expected as many "
                f"each; divide the packs of a step equally"
            )
        return max(1.0, counted / self.tensor_parallel)

    def _count_skipped(self, record: StepRecord) -> None:
        """Count a step that the optimizer skipped.

        Raises:
            DataError: too many in a row were.
        """
        self.num_nonfinite += 1
        self.num_nonfinite_in_a_row += 1
        if self.num_nonfinite_in_a_row >= self.optimizer.max_nonfinite:
            kept = self.keep(record.step, record.packs) if self.keep else None
            raise DataError(
                f"step {record.step}: the gradient was not finite {self.num_nonfinite_in_a_row} steps in a row -- a finite one "
                f"was expected -- {f'see `audio-lm replay {kept}`' if kept else 'lower the learning rate or check the clips'}"
            )

    def _schedule(self) -> StepSchedule:
        schedule = self.lr_schedulers()
        assert isinstance(schedule, StepSchedule), "configure_optimizers returns one"
        return schedule

    def _log_curves(self, step: int) -> None:
        values = _compute_and_reset("train_loss/", self.train_loss)
        values |= _compute_and_reset("train_", self.train_measures)
        values["lr"] = max(map(float, self._schedule().get_last_lr()))
        values |= self.further_curves()
        values["nonfinite_steps"] = float(self.num_nonfinite)
        # With its own logger Lightning would repeat them at every step until the next values, also after a restart.
        self.log_dict(values, batch_size=1, logger=False)
        for logger in self.loggers:
            logger.log_metrics(values, step=step)

    def validation_step(
        self, packs: tuple[PackedBatch, ...], batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        for pack in packs:
            loss = self.compute_loss(pack)
            self.val_loss.update([loss.sums])
            self.val_measures.add([loss.measures])

    def on_validation_epoch_end(self) -> None:
        reshard(self.model)
        values = _compute_and_reset("val_loss/", self.val_loss)
        self.log_dict(values | _compute_and_reset("val_", self.val_measures), batch_size=1)


class WithoutDropout(TrainStep):
    """Base of objectives that compare two policies, whose difference must not be dropout."""

    def on_train_start(self) -> None:
        super().on_train_start()
        self._with_dropout = [module for module in self.model.modules() if module.training]
        self.model.eval()

    def on_train_end(self) -> None:
        """Restore the mode of every module, for the next stage."""
        for module in self._with_dropout:
            module.training = True


def _compute_and_reset(prefix: str, loss: TaskLoss) -> dict[str, float]:
    """Values over all ranks since the last reset."""
    values = {f"{prefix}{task}": value for task, value in loss.compute().items()}
    loss.reset()
    return values
