"""Export the low-rank updates of a run as a LoRA adapter, which peft loads on the model that the run started from.

An adapter has only the updates: everything else has to be as in the folder of ``model.load``.
"""

from pathlib import Path

import torch
from torch import Tensor

from audio_lm.common.errors import UserError
from audio_lm.config.schema import Recipe
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.weights.adapter import write_adapter
from audio_lm.model.weights.files import first_few
from audio_lm.model.weights.parts import updates_of, weights_of
from audio_lm.model.weights.released import open_released, released_weights
from audio_lm.model.weights.tied import without_copies
from audio_lm.prompts.vocabulary import Vocabulary

REMEDY = "leave out --adapter, so that the whole model is exported with merged updates"


def check_recipe(recipe: Recipe, vocabulary: Vocabulary) -> None:
    """Check that a run has updates of a published Qwen2-Audio and no new tokens.

    Raises:
        UserError: it has not.
    """
    model = recipe.model
    if not model.lora:
        raise UserError(f"--adapter: the run has no low-rank updates (model.lora is empty); {REMEDY}")
    if model.load is None or open_released(model.load).clip_start_id is not None:
        raise UserError(
            f"--adapter: model.load is {model.load!r} -- an adapter needs a base that peft can load, a Qwen2-Audio -- {REMEDY}"
        )
    if vocabulary.new_tokens:
        raise UserError(
            f"--adapter: the model has {len(vocabulary.new_tokens)} tokens that {model.load!r} lacks, such as "
            f"{vocabulary.new_tokens[0]!r}, and an adapter has no rows for them; {REMEDY}, or train with prompt: natural or "
            f"chatml"
        )


def updates(model: AudioLM, recipe: Recipe, dtype: torch.dtype) -> dict[str, Tensor]:
    """Updates of all parts, after a check that all other weights are those of the base.

    Returns:
        ``<part>.<layer>.lora_A.weight`` and so on.

    Raises:
        UserError: the run trained other weights too.
    """
    assert recipe.model.load is not None, "checked in check_recipe"
    base = released_weights(open_released(recipe.model.load))
    base["language_model"] = without_copies(model.language_model, base["language_model"])
    changed = [
        f"{part}.{name}"
        for part, of_part in base.items()
        for name, weight in weights_of(getattr(model, part)).items()
        if not torch.equal(weight, of_part[name].to(weight.dtype))
    ]
    if changed:
        raise UserError(
            f"--adapter: {first_few(changed)} differ from {recipe.model.load!r}, and an adapter has only the updates of "
            f"{sorted(recipe.model.lora)}; {REMEDY}"
        )
    return {
        f"{part}.{name}": tensor.detach().to(dtype)
        for part in recipe.model.lora
        for name, tensor in updates_of(getattr(model, part)).items()
    }


def write(weights: dict[str, Tensor], recipe: Recipe, folder: Path) -> None:
    """Write the two files of the adapter."""
    base = str(recipe.model.load)
    write_adapter(
        weights, recipe.model.lora, folder, base=str(Path(base).absolute()) if Path(base).is_dir() else base
    )
