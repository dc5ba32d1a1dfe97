"""Checks of what later stages must not forget, and its smaller copy for a smoke test."""

from collections.abc import Callable, Collection
from dataclasses import replace

from audio_lm.common.errors import RecipeError, unknown
from audio_lm.common.source_name import check_source_name
from audio_lm.config.schema import Recipe
from audio_lm.evaluation.config import GuardConfig

IsAvailable = Callable[[str], bool]


def check_guard(recipe: Recipe) -> None:
    """Check that every name of the guard is that of a benchmark with a later stage.

    Raises:
        RecipeError: one is not.
    """
    guard = recipe.guard
    if guard is None:
        return
    if guard.text is not None:
        check_source_name(guard.text)
    for name in guard.benchmarks:
        if name not in recipe.evaluation.benchmarks:
            raise RecipeError(
                unknown("benchmark", name, recipe.evaluation.benchmarks, see="evaluation.benchmarks")
            )
        stage = recipe.evaluation.benchmarks[name].stage
        if stage in recipe.stages and stage == list(recipe.stages)[-1]:
            raise RecipeError(
                f"guard.benchmarks has {name!r}, whose stage {stage!r} is the last one, so it has no effect -- expected "
                f"benchmarks of earlier stages -- remove it"
            )


def available_guard(
    guard: GuardConfig | None, benchmarks: Collection[str], is_available: IsAvailable
) -> GuardConfig | None:
    """Guard without the benchmarks and the text that are absent; None if nothing is left.

    Args:
        benchmarks: those with data.
    """
    if guard is None:
        return None
    kept = [name for name in guard.benchmarks if name in benchmarks]
    text = guard.text if guard.text is not None and is_available(guard.text) else None
    return replace(guard, benchmarks=kept, text=text) if kept or text else None
