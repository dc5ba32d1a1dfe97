"""The model of a stage as one of its checkpoints has it, in one process, whoever wrote it."""

from audio_lm.checkpoints import state
from audio_lm.checkpoints.discovery import Checkpoint, valid_checkpoints
from audio_lm.common.errors import CheckpointError
from audio_lm.config.schema import Recipe
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.weights.parts import load_weights
from audio_lm.pipeline.model import rates_of
from audio_lm.run.folder import RunFolder


def load_mid_stage(model: AudioLM, recipe: Recipe, folder: RunFolder, stage: str, step: int) -> Checkpoint:
    """Give a fresh model the weights it had behind a step of a stage.

    Frozen parts are those that the stage before it left, or the recipe begins with.

    Raises:
        CheckpointError: there is no such checkpoint, or it was written beside other frozen weights.
    """
    there = {one.step: one for one in valid_checkpoints(folder.checkpoints(stage))}
    if step not in there:
        raise CheckpointError(
            f"stage {stage!r} of {folder.path} has no checkpoint of step {step}; there are {sorted(there) or 'none'}"
        )
    names = list(recipe.stages)
    if before := names[: names.index(stage)]:
        load_weights(model, folder.model(before[-1]))
    trained = [name for name, rate in rates_of(recipe, model)[stage].items() if rate is not None]
    state.check_frozen(there[step], state.frozen_digests(model, trained))
    state.load(there[step], model, trained)
    return there[step]
