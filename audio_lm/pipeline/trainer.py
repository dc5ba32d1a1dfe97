"""Lightning module and trainer of a stage."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import Strategy
from torch.distributed.device_mesh import DeviceMesh

from audio_lm.common.env import world_size
from audio_lm.common.errors import RecipeError
from audio_lm.config.schema import Recipe, StageConfig
from audio_lm.model.audio_lm import AudioLM
from audio_lm.prompts.vocabulary import Vocabulary
from audio_lm.training.config import HardwareConfig
from audio_lm.training.distributed import FSDP2Strategy, TokenSumDDPStrategy
from audio_lm.training.dpo import DpoModule
from audio_lm.training.grpo import AnswerFormat, GrpoModule
from audio_lm.training.next_token import NextTokenModule
from audio_lm.training.objective_config import GRPO
from audio_lm.training.param_groups import Rate
from audio_lm.training.schedules import rate_factor
from audio_lm.training.step import KeepPacks, TrainStep


def check_ranks(recipe: Recipe) -> None:
    """Check that the number of ranks matches the recipe and divides the packs of a step.

    Raises:
        RecipeError: it does not; names the numbers, and the stage.
    """
    hardware = recipe.hardware
    if hardware.devices * hardware.nodes != world_size():
        raise RecipeError(
            f"hardware has {hardware.devices} devices on {hardware.nodes} nodes, but {world_size()} processes were started; "
            f"start one for each device (torchrun --nproc-per-node {hardware.devices} train.py ...), or set hardware.devices"
        )
    num_data_parallel_ranks = hardware.num_data_parallel_ranks
    for name, stage in recipe.stages.items():
        if stage.packs_per_step % num_data_parallel_ranks:
            raise RecipeError(
                f"stage {name!r}: {stage.packs_per_step} packs per step cannot be divided among "
                f"{num_data_parallel_ranks} ranks; set packs_per_step to a multiple of "
                f"{num_data_parallel_ranks}, or start fewer ranks"
            )


def build_module(
    stage: StageConfig,
    model: AudioLM,
    rates: Mapping[str, Rate | None],
    *,
    seed: int = 0,
    tensor_parallel: int = 1,
    is_half: bool = False,
    keep: KeepPacks | None = None,
    answers: AnswerFormat | None = None,
) -> TrainStep:
    """Build the Lightning module of a stage.

    Args:
        rates: learning rate of each parameter; None freezes it.
        tensor_parallel: size of a tensor-parallel group, whose ranks process the same packs.
        is_half: the model computes in bf16.
        keep: saves the packs of a step whose gradient is not finite.
        answers: text and end of sampled answers, for the objective ``grpo``.
    """
    peak = max((rate.lr for rate in rates.values() if rate is not None), default=0.0)
    schedule = stage.schedule
    factor = partial(
        rate_factor,
        kind=schedule.kind,
        steps=stage.steps,
        warmup_steps=schedule.warmup_steps,
        floor=schedule.min_lr / peak if peak else 0.0,
    )
    settings: dict[str, Any] = {
        "rate_of": rates,
        "factor": factor,
        "optimizer": stage.optimizer,
        "tensor_parallel": tensor_parallel,
        "is_half": is_half,
        "keep": keep,
        "seed": seed,
    }
    if (config := stage.dpo_loss) is not None:
        return DpoModule(model, config=config, **settings)
    if stage.objective == GRPO:
        assert stage.grpo is not None, "recipes are checked"
        assert answers is not None, "answers have an end"
        return GrpoModule(model, config=stage.grpo, answers=answers, **settings)
    return NextTokenModule(model, **settings)


def answer_format(stage: StageConfig, vocabulary: Vocabulary) -> AnswerFormat:
    """Text and end of the answers of a stage."""
    end_id = vocabulary.turn_end_id if stage.prompt == "chatml" else vocabulary.end_id
    return AnswerFormat(vocabulary.text, end_id)


def build_trainer(
    recipe: Recipe,
    stage: StageConfig,
    folder: Path,
    *,
    loggers: Sequence[Logger],
    callbacks: Sequence[Callback],
    mesh: DeviceMesh | None = None,
) -> Trainer:
    """Build the Lightning trainer of a stage.

    Args:
        mesh: device mesh of a sharded model.
    """
    hardware = recipe.hardware
    if hardware.num_threads is not None:
        torch.set_num_threads(hardware.num_threads)
    # Without clips Lightning skips the validation and its hooks, which checkpoints of that step wait for.
    validate_every = (stage.validate_every or stage.steps) if stage.validation.sources else 0
    return Trainer(
        accelerator=hardware.accelerator,
        devices=hardware.devices,
        num_nodes=hardware.nodes,
        strategy=_strategy(hardware, mesh),
        precision=_precision(hardware),
        max_steps=stage.steps,
        max_epochs=-1,
        val_check_interval=validate_every or None,
        check_val_every_n_epoch=None,
        limit_val_batches=None if validate_every else 0,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        logger=list(loggers) or False,
        callbacks=list(callbacks),
        default_root_dir=folder,
        use_distributed_sampler=False,  # PackSampler gives each rank its packs
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _strategy(hardware: HardwareConfig, mesh: DeviceMesh | None) -> Strategy | str:
    if mesh is not None:
        return FSDP2Strategy(mesh, cpu_offload=hardware.cpu_offload)
    return TokenSumDDPStrategy() if world_size() > 1 else "auto"


def _precision(hardware: HardwareConfig) -> Any:
    return "bf16-mixed" if hardware.is_half else "32-true"
