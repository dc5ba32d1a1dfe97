"""Lightning's module and trainer of a stage."""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import Strategy
from torch.distributed.device_mesh import DeviceMesh

from audio_lm.errors import RecipeError
from audio_lm.model.audio_lm import AudioLM
from audio_lm.recipe import Recipe, StageConfig
from audio_lm.runtime import world_size
from audio_lm.training.config import HardwareConfig
from audio_lm.training.module import Keep, NextTokenModule
from audio_lm.training.parts import Rate
from audio_lm.training.ranks import RankStrategy, ShardStrategy
from audio_lm.training.schedules import rate_factor

# Its lines about accelerators and products are not ours to print.
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


def check_ranks(recipe: Recipe) -> None:
    """Refuse a number of ranks that is not the machine's, or cannot share the packs of a step equally.

    Raises:
        RecipeError: names the numbers, and the stage.
    """
    hardware = recipe.hardware
    if hardware.devices * hardware.nodes != world_size():
        raise RecipeError(
            f"hardware has {hardware.devices} devices on {hardware.nodes} nodes, but {world_size()} processes were started; "
            f"start one for each (torchrun --nproc-per-node {hardware.devices} train.py ...), or set hardware.devices"
        )
    num_learners = hardware.num_learners
    for name, stage in recipe.stages.items():
        if stage.packs_per_step % num_learners:
            raise RecipeError(
                f"stage {name!r}: {stage.packs_per_step} packs per step cannot be shared by {num_learners} ranks; "
                f"choose a multiple of {num_learners}, or start fewer ranks"
            )


def build_module(
    stage: StageConfig,
    model: AudioLM,
    rates: Mapping[str, Rate | None],
    *,
    seed: int = 0,
    num_alike: int = 1,
    is_half: bool = False,
    keep: Keep | None = None,
) -> NextTokenModule:
    """Who learns what and how fast.

    Args:
        num_alike: ranks that hear the same packs.
        is_half: the model computes in bf16.
        keep: writes down the packs of a step that went wrong.
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
    return NextTokenModule(
        model,
        rate_of=rates,
        factor=factor,
        optimizer=stage.optimizer,
        num_alike=num_alike,
        is_half=is_half,
        keep=keep,
        seed=seed,
    )


def build_trainer(
    recipe: Recipe,
    stage: StageConfig,
    folder: Path,
    *,
    logger: Logger | bool,
    callbacks: Sequence[Callback],
    mesh: DeviceMesh | None = None,
) -> Trainer:
    """Lightning's trainer for one stage.

    Args:
        mesh: of the ranks that share the model out.
    """
    hardware = recipe.hardware
    if hardware.num_threads is not None:
        torch.set_num_threads(hardware.num_threads)
    # Without clips Lightning skips the validation and its hooks, which checkpoints of that step wait for.
    validate_every = stage.validate_every if stage.validation.sources else 0
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
        logger=logger,
        callbacks=list(callbacks),
        default_root_dir=folder,
        use_distributed_sampler=False,  # the plan shares the packs out itself
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _strategy(hardware: HardwareConfig, mesh: DeviceMesh | None) -> Strategy | str:
    if mesh is not None:
        return ShardStrategy(mesh, offloads=hardware.cpu_offload)
    return RankStrategy() if world_size() > 1 else "auto"


def _precision(hardware: HardwareConfig) -> Any:
    return "bf16-mixed" if hardware.is_half else "32-true"
