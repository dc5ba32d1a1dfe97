"""Weights of a stage of another run that a stage starts from (``start_from``), checked before anything is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from audio_lm.common.env import is_main
from audio_lm.common.errors import CheckpointError, RecipeError
from audio_lm.config.load import load_kept_recipe
from audio_lm.config.schema import Recipe, StageConfig
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.weights.part_names import SUFFIX, part_of
from audio_lm.model.weights.parts import load_weights
from audio_lm.pipeline.plan_stage import tokens_of
from audio_lm.prompts.vocabulary import Vocabulary
from audio_lm.run.folder import RunFolder

STAGES = "stages"


@dataclass(frozen=True)
class StartWeights:
    """A finished stage of another run."""

    key: str
    """Key of the recipe that names it."""

    run: RunFolder
    stage: str

    @property
    def folder(self) -> Path:
        """Folder of its weights."""
        return self.run.model(self.stage)

    def check(self) -> None:
        """Check that the stage is finished and its weights are intact.

        Raises:
            CheckpointError: they are not.
        """
        place = self.run.stage(self.stage)
        if not self.run.recipe.is_file():
            raise CheckpointError(
                f"{self.key}: {self.run.path} holds no run (recipe.yaml is missing) -- expected RUN/stages/STAGE, such as "
                f"runs/demo-1a2b3c4d/stages/pretrain -- correct it"
            )
        if not self.run.is_finished(self.stage):
            names = load_kept_recipe(self.run.recipe).recipe.stages
            finished = [name for name in names if self.run.is_finished(name)]
            raise CheckpointError(
                f"{self.key}: {place} is no finished stage -- {self.run.path} has finished {finished or 'none'} -- name one of "
                f"them, or finish that run with resume=auto"
            )
        if is_main():
            self.run.check_model(self.stage)

    def check_vocabulary(self, recipe: Recipe, vocabulary: Vocabulary, theirs: Vocabulary) -> None:
        """Check that the weights have the vocabulary of this recipe, and the tokens of its prompts.

        Args:
            theirs: vocabulary that they were trained with.

        Raises:
            RecipeError: they have not.
        """
        if missing := [token for token in tokens_of(recipe) if token not in theirs.tokens]:
            raise RecipeError(
                f"{self.key}: {self.run.path} was trained without the tokens {missing[:3]} that prompts of this recipe need "
                f"-- expected prompt formats of that run -- change the prompt of the stages"
            )
        if theirs.digest != vocabulary.digest:
            raise RecipeError(
                f"{self.key}: {self.run.path} was trained with another vocabulary ({len(theirs)} tokens there, "
                f"{len(vocabulary)} here) -- expected the same tokenizer -- set model.tokenizer and model.load as in "
                f"{self.run.recipe}"
            )

    def load(self, model: AudioLM) -> None:
        """Load the weights; low-rank updates that the stage did not have keep their initial values.

        Raises:
            CheckpointError: they do not fit the model.
        """
        wanted = dict.fromkeys(part_of(name) for name, _ in model.named_parameters())
        saved = [path.stem for path in self.folder.glob("*.safetensors")]
        if extra := [part for part in saved if part.endswith(SUFFIX) and part not in wanted]:
            raise CheckpointError(
                f"{self.key}: {self.folder} has low-rank updates ({extra[0]}) that this model has not -- expected the same "
                f"model.lora -- set model.lora as in {self.run.recipe}"
            )
        new = [part for part in wanted if part.endswith(SUFFIX) and part not in saved]
        load_weights(model, self.folder, [part for part in wanted if part not in new] if new else None)


def start_weights_of(name: str, stage: StageConfig) -> StartWeights | None:
    """Weights that a stage names; None if it starts from the stage before.

    Raises:
        RecipeError: it does not name a stage of a run.
    """
    if stage.start_from is None:
        return None
    key, path = f"stages.{name}.start_from", Path(stage.start_from)
    if path.parent.name != STAGES:
        raise RecipeError(
            f"`{key}` is {stage.start_from!r} -- expected RUN/stages/STAGE, such as runs/demo-1a2b3c4d/stages/pretrain -- "
            f"correct it"
        )
    return StartWeights(key, RunFolder(path.parents[1]), path.name)


def find_start_weights(name: str, stage: StageConfig) -> StartWeights | None:
    """Checked weights that a stage names; None if it names none.

    Raises:
        UserError: they are not those of a finished stage, or damaged.
    """
    found = start_weights_of(name, stage)
    if found is not None:
        found.check()
    return found


def check_first(stages: Mapping[str, StageConfig], chosen: Sequence[str]) -> None:
    """Check that only the first trained stage names weights.

    Args:
        chosen: stages that are trained, in order.

    Raises:
        RecipeError: a later one does, so the stages before it would have no effect.
    """
    for name in chosen[1:]:
        if stages[name].start_from is not None:
            raise RecipeError(
                f"`stages.{name}.start_from` is set, so the stages before {name!r} would have no effect -- expected it in the "
                f"first trained stage -- add only=[{name}], or remove the key"
            )
