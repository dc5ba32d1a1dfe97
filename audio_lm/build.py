"""From a recipe to things: corpora, vocabulary, model, data, module, trainer.

The only place where configurations become objects; everything below takes
plain arguments.
"""

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import tokenizers
import torch
from lhotse.cut import Cut
from lightning import Callback, Trainer, seed_everything
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import Strategy
from torch.distributed.device_mesh import DeviceMesh
from transformers import PreTrainedTokenizerBase

from audio_lm.corpora.corpus import prepare
from audio_lm.data.cache import writable_cache
from audio_lm.data.collate import Collator
from audio_lm.data.cuts import (
    LongClips,
    check_sources,
    read_cuts,
    texts_of,
    usable_cuts,
)
from audio_lm.data.datamodule import MixtureDataModule, PlannedPacks, PlanSampler
from audio_lm.data.examples import CHAT
from audio_lm.data.guard import guarded_waves
from audio_lm.data.plan import Cursor
from audio_lm.errors import RecipeError
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.checkpoint import load_weights
from audio_lm.model.factory import build_model
from audio_lm.model.language_model import num_rows
from audio_lm.model.outline import fill_with_first, outline
from audio_lm.model.released import open_released
from audio_lm.model.weight_files import published_folder
from audio_lm.planning import StagePlan, StageSources, cache_of, maker_of, tokens_of, unreadable
from audio_lm.prompts import tags
from audio_lm.prompts.tokenizer import kept_tokenizer, load_tokenizer, train_tokenizer
from audio_lm.prompts.vocabulary import Vocabulary
from audio_lm.recipe import Recipe, StageConfig
from audio_lm.runtime import key_of, local_rank, world_size
from audio_lm.stand_ins import has_enough
from audio_lm.tasks.registry import find_task
from audio_lm.training.config import HardwareConfig
from audio_lm.training.layer_calls import compile_layers, recompute_layers
from audio_lm.training.module import Keep, NextTokenModule
from audio_lm.training.parts import Rate, learning_rates
from audio_lm.training.ranks import RankStrategy, ShardStrategy
from audio_lm.training.schedules import rate_factor
from audio_lm.training.sharding import check_cuttable, materialise, new_mesh, shard

Report = Callable[[str], None]
FIRST = Cursor()
TEXTS = 1  # number of the rules for which texts a vocabulary is made of, below and in ``texts_of``
STAMP = re.compile(r"<\|\d+\.\d\d\|>")
# Its lines about accelerators and products are not ours to print.
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


def prepare_corpora(recipe: Recipe, report: Report) -> None:
    """Make the corpora a recipe names, where they are not there yet."""
    for name, settings in recipe.corpora.items():
        if has_enough(recipe, name):
            report(f"corpus {name}: {Path(recipe.data_dir) / name} is used as it is")
        else:
            prepare(name, Path(recipe.data_dir), settings, report)


def usable_source(recipe: Recipe, source: str, long_clips: LongClips) -> list[Cut]:
    """The cuts of a source that keep the contract."""
    cuts = read_cuts(Path(recipe.data_dir), source)
    check_sources(cuts, [Path(root) for root in recipe.audio_roots])
    return usable_cuts(cuts, source=source, long_clips=long_clips)


def build_vocabulary(
    recipe: Recipe,
    sources: Mapping[str, StageSources],
    folder: Path | None = None,
    *,
    tokens: Sequence[str] | None = None,
) -> Vocabulary:
    """The vocabulary of a run: loaded, or trained on the texts of its training cuts.

    Args:
        folder: where an earlier start of the same run kept its tokenizer.
        tokens: that an earlier start of the same run had beside words; none gives those that its prompts need.
    """
    settings = recipe.model.tokenizer
    if folder is not None and folder.is_dir():
        tokenizer = load_tokenizer(str(folder), trust_remote_code=recipe.model.trust_remote_code)
    elif settings.load is not None:
        tokenizer = load_tokenizer(settings.load, trust_remote_code=recipe.model.trust_remote_code)
    elif recipe.model.load is not None:
        tokenizer = load_tokenizer(str(published_folder(recipe.model.load, what="model")))
    else:
        tokenizer = _own_tokenizer(recipe, sources)
    num_base = _num_base(recipe, len(tokenizer))
    return Vocabulary(tokenizer, num_base=num_base, tokens=tokens or tokens_of(recipe))


def _own_tokenizer(recipe: Recipe, sources: Mapping[str, StageSources]) -> PreTrainedTokenizerBase:
    """One for the texts that are heard, kept beside their indexes: other ranks and later starts read no text again."""
    heard = {leaf.source: leaf.rows for stage in sources.values() for leaf in stage.training}
    prompts = sorted({text for name in _tasks(recipe) for text in find_task(name).prompts})
    vocab_size = recipe.model.tokenizer.vocab_size

    def train() -> PreTrainedTokenizerBase:
        cuts = (rows.cut(row) for rows in heard.values() for row in range(len(rows)))
        texts = sorted({text for text in texts_of(cuts) if not text.startswith("<|")})
        return train_tokenizer([*texts, *(f" {text}" for text in texts), *prompts], vocab_size=vocab_size)

    digests = sorted(rows.index.digest for rows in heard.values())
    known = json.dumps([TEXTS, tokenizers.__version__, vocab_size, digests, prompts])
    with writable_cache(cache_of(recipe)):
        return kept_tokenizer(cache_of(recipe) / "tokenizers" / f"{key_of(known):016x}", train)


def _tasks(recipe: Recipe) -> set[str]:
    return {task for stage in recipe.stages.values() for task in stage.mixture.weights} - {CHAT}


def _num_base(recipe: Recipe, num_tokens: int) -> int:
    if recipe.model.load is not None:
        return open_released(recipe.model.load).num_rows
    loaded = recipe.model.language_model.load
    if loaded is None:
        return num_tokens
    return num_rows(loaded, trust_remote_code=recipe.model.trust_remote_code)


def check_tags(recipe: Recipe, vocabulary: Vocabulary) -> None:
    """Refuse a stage in tags whose tags are not single tokens.

    Raises:
        RecipeError: names the stage, the task and the tags.
    """
    for name, stage in recipe.stages.items():
        for task in stage.mixture.weights if stage.prompt == "tags" else ():
            if task == CHAT:
                raise RecipeError(f"stage {name!r}: {CHAT!r} is asked in chatml only; set prompt: chatml")
            try:
                tags.check_tags(find_task(task), vocabulary.id_of)
            except RecipeError as error:
                raise RecipeError(f"stage {name!r}: {error}") from error


def build_audio_lm(recipe: Recipe, vocabulary: Vocabulary, *, is_outline: bool = False) -> AudioLM:
    """The model with its first weights, or without any; equal seeds give equal weights."""
    seed_everything(recipe.seed, verbose=False)
    num_base, num_new = vocabulary.num_base, len(vocabulary.new_tokens)
    if is_outline:
        model = outline(recipe.model, num_base=num_base, num_new=num_new)
        if recipe.hardware.tensor_parallel > 1:
            check_cuttable(model, recipe.hardware.tensor_parallel)
    else:
        model = build_model(recipe.model, num_base=num_base, num_new=num_new, line=_stamps(vocabulary))
    if recipe.hardware.compile:
        compile_layers(model)
    recompute_layers(model, recipe.hardware.activation_checkpointing)
    return model


def _stamps(vocabulary: Vocabulary) -> range:
    stamps = [number for number, token in enumerate(vocabulary.new_tokens) if STAMP.fullmatch(token)]
    return range(stamps[0], stamps[-1] + 1) if stamps else range(0)


def build_mesh(hardware: HardwareConfig) -> DeviceMesh | None:
    """The ranks as a grid, where they share the model out; all of them have to be there."""
    if hardware.sharding == "none":
        return None
    if hardware.accelerator == "gpu":
        torch.cuda.set_device(local_rank())
    return new_mesh(
        "cuda" if hardware.accelerator == "gpu" else "cpu",
        num_groups=hardware.nodes if hardware.sharding == "hsdp" else 1,
        num_ranks=world_size(),
        tensor_parallel=hardware.tensor_parallel,
    )


def share_out(
    model: AudioLM,
    recipe: Recipe,
    vocabulary: Vocabulary,
    rates: Mapping[str, Rate | None],
    mesh: DeviceMesh,
    weights: Path | None,
) -> None:
    """Give each rank its shares of an outline, with the weights of a folder or the recipe's first ones.

    Raises:
        CheckpointError: the weights do not fit.
    """
    hardware = recipe.hardware
    shard(
        model,
        mesh,
        trained=[name for name, rate in rates.items() if rate is not None],
        shares_frozen=hardware.frozen == "sharded",
        is_half=hardware.is_half,
        offloads=hardware.cpu_offload,
    )
    on_gpu = mesh.device_type == "cuda"
    device = torch.device("cuda", local_rank()) if on_gpu else torch.device("cpu")
    materialise(model, device, offloads=hardware.cpu_offload)
    if weights is not None:
        load_weights(model, weights)
        return
    seed_everything(recipe.seed, verbose=False)
    fill_with_first(
        model,
        recipe.model,
        num_base=vocabulary.num_base,
        num_new=len(vocabulary.new_tokens),
        line=_stamps(vocabulary),
    )


def rates_of(recipe: Recipe, model: AudioLM) -> dict[str, dict[str, Rate | None]]:
    """The rate of every parameter in every stage.

    Raises:
        RecipeError: a stage's parts do not fit the model; names the stage.
    """
    rates = {}
    for name, stage in recipe.stages.items():
        try:
            rates[name] = learning_rates([name for name, _ in model.named_parameters()], stage.parts)
        except RecipeError as error:
            raise RecipeError(f"stage {name!r}: {error}") from error
    return rates


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


def build_data(
    recipe: Recipe,
    stage_name: str,
    planned: StagePlan,
    sources: StageSources,
    vocabulary: Vocabulary,
    *,
    cursor: Cursor = FIRST,
) -> MixtureDataModule:
    """The packs of a stage, from a cursor on."""
    stage = recipe.stages[stage_name]
    collator = Collator(
        policy=stage.spec_augment,
        num_mels=recipe.model.encoder.sizes.num_mels,
        seed=recipe.seed,
        load=guarded_waves,
        unreadable=unreadable(planned.heard),
    )
    return MixtureDataModule(
        PlanSampler(planned.plan, cursor, num_alike=recipe.hardware.tensor_parallel),
        PlannedPacks(planned.heard, maker_of(recipe, vocabulary, stage.prompt), collator, is_measured=True),
        validation=sources.validation,
        validation_maker=maker_of(recipe, vocabulary, stage.prompt, is_evaluation=True),
        max_tokens=stage.pack_tokens,
        num_workers=recipe.hardware.num_workers,
        seconds_for_a_step=recipe.survival.loader_seconds,
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
    return Trainer(
        accelerator=hardware.accelerator,
        devices=hardware.devices,
        num_nodes=hardware.nodes,
        strategy=_strategy(hardware, mesh),
        precision=_precision(hardware),
        max_steps=stage.steps,
        max_epochs=-1,
        val_check_interval=stage.validate_every or None,
        check_val_every_n_epoch=None,
        limit_val_batches=None if stage.validate_every else 0,
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
