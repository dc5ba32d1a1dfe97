"""A recipe completed by what the models it loads say of themselves."""

from collections.abc import Mapping
from dataclasses import replace

from audio_lm.common.errors import RecipeError, UserError
from audio_lm.config.schema import Recipe
from audio_lm.model.config import EncoderSizes


def with_sizes(recipe: Recipe, where: Mapping[str, str]) -> Recipe:
    """The recipe with every size of its model known, so that plans, ``recipe.yaml`` and the signature have them.

    Args:
        where: dotted key -> file and line.

    Raises:
        RecipeError: a setting is not what ``config.json`` of a model to load says, or nothing says a size.
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
