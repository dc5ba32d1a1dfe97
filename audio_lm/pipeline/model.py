"""The model of a recipe, replicated or sharded, with its initial weights."""

from collections.abc import Mapping
from pathlib import Path

import torch
from lightning import seed_everything
from torch.distributed.device_mesh import DeviceMesh

from audio_lm.common.env import local_rank, world_size
from audio_lm.common.errors import RecipeError
from audio_lm.config.schema import Recipe
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.build import build_model
from audio_lm.model.meta_init import build_on_meta, init_weights
from audio_lm.model.weights.part_names import part_of
from audio_lm.model.weights.parts import load_weights
from audio_lm.prompts.vocabulary import STAMPS, Vocabulary
from audio_lm.training.compile import compile_layers, recompute_layers
from audio_lm.training.config import HardwareConfig
from audio_lm.training.fsdp import check_tensor_parallel, materialise, new_mesh, shard
from audio_lm.training.param_groups import Rate, learning_rates


def build_audio_lm(recipe: Recipe, vocabulary: Vocabulary, *, on_meta: bool = False) -> AudioLM:
    """Build the model with its initial weights; equal seeds give equal weights.

    Args:
        on_meta: build it on the meta device, without weights.
    """
    seed_everything(recipe.seed, verbose=False)
    num_base, num_new = vocabulary.num_base, len(vocabulary.new_tokens)
    if on_meta:
        model = build_on_meta(recipe.model, num_base=num_base, num_new=num_new)
        if recipe.hardware.tensor_parallel > 1:
            check_tensor_parallel(model, recipe.hardware.tensor_parallel)
    else:
        model = build_model(
            recipe.model, num_base=num_base, num_new=num_new, ordered_rows=_stamp_rows(vocabulary)
        )
    if recipe.hardware.compile:
        compile_layers(model)
    recompute_layers(model, recipe.hardware.activation_checkpointing)
    return model


def _stamp_rows(vocabulary: Vocabulary) -> range:
    """Rows of the time stamps among the new tokens."""
    stamps = frozenset(STAMPS)
    rows = [row for row, token in enumerate(vocabulary.new_tokens) if token in stamps]
    return range(rows[0], rows[-1] + 1) if rows else range(0)


def build_mesh(hardware: HardwareConfig) -> DeviceMesh | None:
    """Device mesh of a sharded model, else None. A collective operation: every rank has to call it."""
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


def apply_fsdp(
    model: AudioLM,
    recipe: Recipe,
    vocabulary: Vocabulary,
    rates: Mapping[str, Rate | None],
    mesh: DeviceMesh,
    weights: Path | None,
) -> None:
    """Shard a model on the meta device with FSDP2, and fill it with weights.

    Args:
        weights: folder to load; None gives the initial weights of the recipe.

    Raises:
        CheckpointError: the weights do not fit.
    """
    hardware = recipe.hardware
    shard(
        model,
        mesh,
        trained=[name for name, rate in rates.items() if rate is not None],
        shard_frozen=hardware.frozen == "sharded",
        is_half=hardware.is_half,
        cpu_offload=hardware.cpu_offload,
    )
    on_gpu = mesh.device_type == "cuda"
    device = torch.device("cuda", local_rank()) if on_gpu else torch.device("cpu")
    materialise(model, device, cpu_offload=hardware.cpu_offload)
    if weights is not None:
        load_weights(model, weights)
        return
    seed_everything(recipe.seed, verbose=False)
    init_weights(
        model,
        recipe.model,
        num_base=vocabulary.num_base,
        num_new=len(vocabulary.new_tokens),
        ordered_rows=_stamp_rows(vocabulary),
    )


def rates_of(recipe: Recipe, model: AudioLM) -> dict[str, dict[str, Rate | None]]:
    """Learning rate of every parameter in every stage.

    Raises:
        RecipeError: a stage's parts do not fit the model; names the stage.
    """
    rates = {}
    for name, stage in recipe.stages.items():
        try:
            rates[name] = learning_rates([name for name, _ in model.named_parameters()], stage.parts)
            _check_learning(model, rates[name])
        except RecipeError as error:
            raise RecipeError(f"stage {name!r}: {error}") from error
    return rates


def _check_learning(model: AudioLM, rates: Mapping[str, Rate | None]) -> None:
    """Check that a trained parameter has a value: ``new_tokens`` is empty where the tokenizer has every token."""
    trained = [name for name, rate in rates.items() if rate is not None]
    if not any(model.get_parameter(name).numel() for name in trained):
        raise RecipeError(
            f"nothing learns, since the trained parts {sorted(set(map(part_of, trained)))} have no values in this model; set "
            f"the lr of another part"
        )
