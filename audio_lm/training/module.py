"""Next-token training: the stages of pre-training and of supervised fine-tuning.

Owns when things happen; what happens is in the model, ``losses``, ``parts``
and ``schedules``. One batch is everything a rank hears in one optimizer step.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from lightning import LightningModule
from torch import Tensor

from audio_lm.model.audio_lm import AudioLM
from audio_lm.pack import Pack
from audio_lm.runtime import key_of, rank
from audio_lm.training.config import OptimizerConfig
from audio_lm.training.losses import sums_by_task
from audio_lm.training.optimizers import build_optimizer
from audio_lm.training.parts import Rate
from audio_lm.training.ranks import gathered, sum_gradients, summed

LossOfTask = dict[str, tuple[float, float]]  # summed loss, learned tokens


class NextTokenModule(LightningModule):
    """Teaches an audio-language model to continue conversations."""

    def __init__(
        self,
        model: AudioLM,
        *,
        rate_of: Mapping[str, Rate | None],
        factor: Callable[[int], float],
        optimizer: OptimizerConfig,
        log_every: int = 10,
        seed: int = 0,
    ) -> None:
        """Freeze what has no rate.

        Args:
            rate_of: the rate of every parameter of ``model``, from ``learning_rates``.
            factor: what the peak rates are multiplied by at a step.
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
        self.log_every = log_every
        self.seed = seed
        self.train_loss: LossOfTask = {}
        self.val_loss: LossOfTask = {}
        for name, parameter in model.named_parameters():
            rate = rate_of[name]
            parameter.requires_grad_(rate is not None and rate.from_step == 0)

    def training_step(self, packs: tuple[Pack, ...], batch_idx: int) -> None:
        step = self.global_step
        optimizer = self.optimizers()
        self._thaw(step)
        num_learned = max(1.0, *summed(sum(pack.num_learned for pack in packs)))
        for index, pack in enumerate(packs, start=rank() * len(packs)):
            torch.manual_seed(key_of(self.seed, "dropout", step, index))
            loss = self.model.loss(pack, weight=1 / num_learned)
            self.manual_backward(loss.total)
            _add(self.train_loss, pack, loss.losses)
        sum_gradients(self.model.parameters())
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * self.factor(step)
        if self.optimizer.clip:
            self.clip_gradients(optimizer, self.optimizer.clip, gradient_clip_algorithm="norm")
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if (step + 1) % self.log_every == 0:
            values = _means("train_loss", _together(gathered(self.train_loss)))
            self.train_loss.clear()
            values["lr"] = max(group["lr"] for group in optimizer.param_groups)
            # Lightning would log them again at every step until the next are there, and so not after a restart.
            self.log_dict(values, batch_size=1, logger=False)
            if self.logger is not None:
                self.logger.log_metrics(values, step=step)

    def validation_step(self, packs: tuple[Pack, ...], batch_idx: int, dataloader_idx: int = 0) -> None:
        for pack in packs:
            _add(self.val_loss, pack, self.model.loss(pack).losses)

    def on_validation_epoch_end(self) -> None:
        self.log_dict(_means("val_loss", self.val_loss), batch_size=1)
        self.val_loss.clear()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return build_optimizer(self.model, self.rate_of, self.optimizer)

    def _thaw(self, step: int) -> None:
        for name, parameter in self.model.named_parameters():
            rate = self.rate_of[name]
            if rate is not None and step >= rate.from_step > 0:
                parameter.requires_grad_(True)


def _means(what: str, loss_of_task: LossOfTask) -> dict[str, float]:
    """Loss per learned token, task by task and of all; nothing where nothing was heard."""
    if not loss_of_task:
        return {}
    values = {
        f"{what}/{task}": total / count for task, (total, count) in sorted(loss_of_task.items()) if count
    }
    total, count = (sum(pair[i] for pair in loss_of_task.values()) for i in (0, 1))
    return values | {f"{what}/all": total / max(1.0, count)}


def _add(loss_of_task: LossOfTask, pack: Pack, losses_P: Tensor) -> None:
    sums_C, counts_C = sums_by_task(losses_P, pack.task_index, len(pack.tasks))
    for task, total, count in zip(pack.tasks, sums_C.tolist(), counts_C.tolist(), strict=True):
        before = loss_of_task.get(task, (0.0, 0.0))
        loss_of_task[task] = (before[0] + total, before[1] + count)


def _together(loss_of_task_of_rank: Sequence[LossOfTask]) -> LossOfTask:
    """Sums and counts of all ranks, which need not have heard the same tasks."""
    whole: LossOfTask = {}
    for loss_of_task in loss_of_task_of_rank:
        for task, (total, count) in loss_of_task.items():
            before = whole.get(task, (0.0, 0.0))
            whole[task] = (before[0] + total, before[1] + count)
    return whole
