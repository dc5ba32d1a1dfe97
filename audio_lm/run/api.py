"""Functions of the Python interface: parts of a recipe for your own Lightning ``Trainer``, and trained runs.

``audio_lm`` exports them and imports this module on first use. The command line does not need it.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from audio_lm.config.load import ComposedRecipe
from audio_lm.config.schema import Recipe
from audio_lm.data.collate import Collator
from audio_lm.data.datamodule import MixtureDataModule, packs_of
from audio_lm.data.examples import with_example
from audio_lm.evaluation import predict as answers
from audio_lm.evaluation.predict import EvalExample, Prediction
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.weights.parts import load_weights
from audio_lm.pipeline import data as pipeline_data
from audio_lm.pipeline import trainer as pipeline_trainer
from audio_lm.pipeline.benchmark_data import PROMPT_PACK_TOKENS, audio_span, speaker_of
from audio_lm.pipeline.corpora import prepare_corpora
from audio_lm.pipeline.model import build_audio_lm, rates_of
from audio_lm.pipeline.plan_stage import compile_stage, maker_of, plan_stage
from audio_lm.pipeline.vocabulary import build_vocabulary
from audio_lm.prompts.vocabulary import Vocabulary
from audio_lm.run.open import kept_vocabulary, load_mid_stage, open_run
from audio_lm.training.step import TrainStep


def build_model(composed: ComposedRecipe) -> AudioLM:
    """Build the model of a recipe with the weights that it starts from; corpora are prepared where they are missing.

    Raises:
        UserError: recipe or data do not fit.
    """
    return build_audio_lm(composed.recipe, _vocabulary(composed.recipe))


def build_data(composed: ComposedRecipe, stage: str) -> MixtureDataModule:
    """Build the data module of a stage: packs in the order in which ``train`` would use them.

    Raises:
        UserError: recipe or data do not fit.
    """
    recipe = composed.recipe
    vocabulary = _vocabulary(recipe)
    sources = compile_stage(recipe, recipe.stages[stage])
    planned = plan_stage(recipe, recipe.stages[stage], sources, vocabulary)
    return pipeline_data.build_data(recipe, stage, planned, sources, vocabulary)


def build_module(composed: ComposedRecipe, stage: str, model: AudioLM) -> TrainStep:
    """Wrap a model for a stage: loss, frozen parts, learning rates and optimizer of the recipe."""
    recipe = composed.recipe
    return pipeline_trainer.build_module(
        recipe.stages[stage],
        model,
        rates_of(recipe, model)[stage],
        seed=recipe.seed,
        is_half=recipe.hardware.is_half,
    )


def load_model(run: str | Path, stage: str | None = None, *, step: int | None = None) -> AudioLM:
    """Load the model that a run has trained, in evaluation mode.

    Args:
        run: its folder.
        stage: by default the last one.
        step: of a checkpoint in the middle of the stage; by default the end.

    Raises:
        UserError: the folder holds no run, or no such weights.
    """
    recipe, folder = open_run(Path(run))
    stage = stage or list(recipe.stages)[-1]
    model = build_audio_lm(recipe, kept_vocabulary(recipe, folder))
    if step is None:
        folder.check_model(stage)
        load_weights(model, folder.model(stage))
    else:
        load_mid_stage(model, recipe, folder, stage, step)
    return model.eval()


def predict(
    run: str | Path, cuts: Iterable[Any], task: str, *, stage: str | None = None, max_new_tokens: int = 256
) -> list[Prediction]:
    """Generate the answer to a task for every clip, with the model that a run has trained.

    Args:
        run: its folder.
        cuts: a ``lhotse.CutSet``, or any cuts; they need the labels that the task's question is made of.
        task: name of a task, such as ``asr``.
        stage: by default the last one.

    Raises:
        UserError: the folder holds no run; the task is unknown; a cut lacks a label.
    """
    recipe, folder = open_run(Path(run))
    stage = stage or list(recipe.stages)[-1]
    vocabulary, model = kept_vocabulary(recipe, folder), load_model(run, stage)
    maker = maker_of(recipe, vocabulary, recipe.stages[stage].prompt, is_evaluation=True, with_answer=False)
    collate = Collator(num_mels=recipe.model.encoder.sizes.num_mels)
    prompts = [with_example(cut, maker.example(cut, task)) for cut in cuts]
    packs = (
        (collate(pack), [EvalExample(cut.id, task, (), "", speaker_of(cut), audio_span(cut)) for cut in pack])
        for pack in packs_of(prompts, max_tokens=PROMPT_PACK_TOKENS)
    )
    end_ids = {vocabulary.end_id, vocabulary.turn_end_id}
    return list(answers.predict(model, packs, vocabulary, end_ids=end_ids, max_new_tokens=max_new_tokens))


def _vocabulary(recipe: Recipe) -> Vocabulary:
    prepare_corpora(recipe, lambda message: None)
    sources = {name: compile_stage(recipe, stage) for name, stage in recipe.stages.items()}
    return build_vocabulary(recipe, sources)
