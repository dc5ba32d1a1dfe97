"""Lines about the files that a training run would write, for ``--dry-run``; the data are not read."""

from collections.abc import Iterator
from pathlib import Path

from audio_lm.config.load import ComposedRecipe
from audio_lm.config.smoke import has_enough
from audio_lm.corpora.corpus import describe_preparation
from audio_lm.run.folder import RunFolder
from audio_lm.tracking.mlflow.uri import tracking_uri


def training_files(composed: ComposedRecipe, out: Path | None = None) -> Iterator[str]:
    """Yield lines about corpora, run folder, stages, benchmarks and tracking.

    Args:
        out: the run's folder, instead of ``runs/<name>-<signature>``.

    Raises:
        RecipeError: a corpus or one of its settings does not exist.
    """
    recipe, folder = composed.recipe, RunFolder(composed.run_path(out))
    yield from composed.notes
    for name, settings in recipe.corpora.items():
        if has_enough(recipe, name):
            yield f"corpus {name}: {Path(recipe.data_dir) / name} is already prepared"
        else:
            yield describe_preparation(name, Path(recipe.data_dir), settings)
    yield f"run folder: {folder.path} ({_state(composed, folder)})"
    for name, stage in recipe.stages.items():
        if recipe.only and name not in recipe.only:
            continue
        checkpoints = f"a checkpoint every {stage.checkpoint_every} steps"
        yield f"  {folder.stage(name)}: {stage.steps} steps, {checkpoints}, weights in {folder.model(name)}"
    benchmarks = recipe.evaluation.benchmarks
    if benchmarks:
        yield f"  {folder.scores} and {folder.predictions}: {len(benchmarks)} benchmarks"
    yield f"curves: {tracking_uri(recipe.tracking.uri)}"


def _state(composed: ComposedRecipe, folder: RunFolder) -> str:
    if not folder.recipe.is_file():
        return "new"
    if composed.recipe.is_resumed:
        return "exists; it would be continued"
    return "exists; it is refused without resume=auto"
