"""A run read from its folder: recipe, vocabulary, and the weights of any checkpoint."""

from pathlib import Path

from audio_lm.checkpoints.discovery import Checkpoint, valid_checkpoints
from audio_lm.common.errors import CheckpointError, UserError
from audio_lm.common.files import text_fault
from audio_lm.common.seals import folder_fault
from audio_lm.config.load import load_recipe
from audio_lm.config.schema import Recipe
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.weights.parts import load_weights
from audio_lm.pipeline.vocabulary import build_vocabulary
from audio_lm.prompts.vocabulary import Vocabulary
from audio_lm.run.folder import RunFolder, kept_tokens
from audio_lm.run.start_weights import find_start_weights


def open_run(path: Path, *, trusts_code: bool = False) -> tuple[Recipe, RunFolder]:
    """Open a finished or stopped run.

    Args:
        trusts_code: as of ``load_recipe``.

    Raises:
        UserError: the folder holds no run.
    """
    folder = RunFolder(path)
    if not folder.recipe.is_file():
        raise UserError(
            f"{path} holds no run (recipe.yaml is missing); name a folder such as runs/demo-1a2b3c4d"
        )
    if fault := text_fault(folder.recipe):
        raise UserError(
            f"{folder.recipe} is damaged ({fault}); `audio-lm train RECIPE --out {path} resume=auto` writes it again"
        )
    return load_recipe(folder.recipe, is_complete=True, trusts_code=trusts_code).recipe, folder


def kept_vocabulary(recipe: Recipe, folder: RunFolder) -> Vocabulary:
    """Vocabulary that a run was trained with.

    Raises:
        CheckpointError: it was trained for this run, and is missing.
    """
    is_trained_here = recipe.model.tokenizer_source is None
    if is_trained_here and not folder.tokenizer.is_dir():
        raise CheckpointError(
            f"{folder.tokenizer} is missing, so the run's token ids are unknown; train it again"
        )
    tokenizer = folder.kept_tokenizer()
    if is_trained_here and tokenizer is None:
        raise CheckpointError(
            f"{folder.tokenizer}: {folder_fault(folder.tokenizer)}; `audio-lm train ... resume=auto` trains it again"
        )
    return build_vocabulary(recipe, {}, tokenizer, tokens=kept_tokens(folder))


def load_mid_stage(model: AudioLM, recipe: Recipe, folder: RunFolder, stage: str, step: int) -> Checkpoint:
    """Load the weights of a checkpoint in the middle of a stage, in one process.

    Weights of frozen parts come from the stage before, or from those that the recipe starts from.

    Raises:
        CheckpointError: there is no such checkpoint, or it was saved with other frozen weights.
    """
    # Imported here: Lightning takes seconds, and a question about a clip needs none of it.
    from audio_lm.checkpoints import state
    from audio_lm.pipeline.model import rates_of

    checkpoints = {checkpoint.step: checkpoint for checkpoint in valid_checkpoints(folder.checkpoints(stage))}
    if step not in checkpoints:
        raise CheckpointError(
            f"stage {stage!r} of {folder.path} has no checkpoint of step {step}; there are {sorted(checkpoints) or 'none'}"
        )
    names = list(recipe.stages)
    if (weights := find_start_weights(stage, recipe.stages[stage])) is not None:
        weights.load(model)
    elif before := names[: names.index(stage)]:
        load_weights(model, folder.model(before[-1]))
    trained = [name for name, rate in rates_of(recipe, model)[stage].items() if rate is not None]
    state.check_frozen(checkpoints[step], state.frozen_digests(model, trained))
    state.load(checkpoints[step], model, trained)
    return checkpoints[step]
