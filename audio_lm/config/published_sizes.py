"""Model sizes from the ``config.json`` of the pretrained models that a recipe loads."""

from collections.abc import Mapping
from dataclasses import replace

from audio_lm.common.errors import RecipeError, UserError
from audio_lm.config.schema import Recipe
from audio_lm.config.yaml_layers import Layer, drop, flatten, table_at
from audio_lm.model.config import EncoderSizes

PIECES = "conf/model/"
SIZES_OF_MODEL = ("model.encoder", "model.language_model")


def with_sizes(recipe: Recipe, where: Mapping[str, str]) -> Recipe:
    """Complete the model sizes of a recipe, so that the plan, ``recipe.yaml`` and the signature contain them.

    Args:
        where: dotted key -> file and line.

    Raises:
        RecipeError: a setting contradicts the ``config.json`` of a pretrained model, or a size is given nowhere.
    """
    model = recipe.model
    loads = {
        "model.load": model.load,
        "model.encoder.load": model.encoder.load,
        "model.language_model.load": model.language_model.load,
    }
    used = [key for key, load in loads.items() if load is not None]
    if not used:
        return replace(recipe, model=replace(model, encoder=model.encoder.fill_sizes(EncoderSizes())))
    from audio_lm.model.resolve_sizes import resolve_sizes  # imports transformers, which takes seconds

    try:
        return replace(recipe, model=resolve_sizes(model, is_planned=True))
    except UserError as error:
        raise RecipeError(f"{where.get(used[0], 'recipe')}: {error}") from error


def drop_sizes_of_other_weights(merged: Layer) -> None:
    """Remove the sizes of a piece of ``conf/model/`` where a recipe or the command line loads another whole model, in place.

    They are those of the piece's own model; ``config.json`` of the weights has the right ones.
    """
    if table_at(merged.tree, "model.load") is None or merged.where.get("model.load", "").startswith(PIECES):
        return
    for part in SIZES_OF_MODEL:
        for key, _ in list(flatten(table_at(merged.tree, part) or {}, f"{part}.")):
            if merged.where.get(key, "").startswith(PIECES):
                drop(merged.tree, key)
