"""The run that a resume may have meant, where it finds none with its settings."""

from itertools import islice
from pathlib import Path
from typing import Any

from audio_lm.common.errors import RecipeError
from audio_lm.config.load import RECIPE, ComposedRecipe, load_kept_recipe, result_settings
from audio_lm.run.folder import RunFolder

MOST_RUNS = 20  # of the same name, newest first, whose recipes are compared
MOST_CHANGED = 3  # settings that are named
MOST_SHOWN = 60  # characters of a value
ABSENT = object()


def note_on_nearest(composed: ComposedRecipe, folder: RunFolder, out: Path | None) -> list[str]:
    """A message that names the run of the same recipe with the fewest other settings, if a resume finds none.

    Runs that cannot be read, and those without a trained step, are left out.

    Args:
        out: the folder that the command line names; None for the default.
    """
    recipe = composed.recipe
    if out is not None or folder.path.exists() or not recipe.is_resumed or recipe.extends is not None:
        return []
    runs = [
        (len(changed), run)
        for run, changed in islice(composed.earlier_runs(), MOST_RUNS)
        if any(steps_in(run))
    ]
    if not runs:
        return []
    _, nearest = min(runs, key=lambda run: run[0])
    try:
        earlier = load_kept_recipe(nearest / RECIPE)
    except RecipeError:
        return []
    total = sum(stage.steps for stage in earlier.recipe.stages.values())
    return [
        f"{folder.path} starts at step 0: {nearest} has {sum(steps_in(nearest))} of {total} steps of this recipe; it "
        f"differs in {_differences(earlier, composed)}"
    ]


def steps_in(run: Path) -> list[int]:
    """Steps that each stage of a run has trained."""
    folder = RunFolder(run)
    steps = [folder.status(stage.name).get("step") for stage in sorted((run / "stages").glob("*"))]
    return [step for step in steps if isinstance(step, int)]


def _differences(earlier: ComposedRecipe, now: ComposedRecipe) -> str:
    there, here = result_settings(earlier.tree), result_settings(now.tree)
    changed = sorted(
        key for key in there.keys() | here.keys() if there.get(key, ABSENT) != here.get(key, ABSENT)
    )
    named = [
        f"{key}: {_shown(there.get(key, ABSENT))} there, {_shown(here.get(key, ABSENT))} here"
        for key in changed[:MOST_CHANGED]
    ]
    more = len(changed) - len(named)
    return "; ".join(named) + (f"; and {more} more" if more else "")


def _shown(value: Any) -> str:
    text = "absent" if value is ABSENT else "null" if value is None else str(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."
