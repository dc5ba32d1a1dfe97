"""Checks of the objective of a stage against its other settings."""

from audio_lm.common.errors import RecipeError
from audio_lm.config.schema import StageConfig
from audio_lm.training.objective_config import DPO


def check_objective(name: str, stage: StageConfig) -> None:
    """Check that the settings of a stage fit its objective.

    Args:
        name: of the stage.

    Raises:
        RecipeError: a setting has no effect, or cannot be used.
    """
    if stage.dpo is not None and stage.objective != DPO:
        raise RecipeError(
            f"stage {name!r} has a table dpo and objective: {stage.objective}, so it has no effect -- expected dpo -- "
            f"set it, or remove the table"
        )
    if stage.objective == DPO:
        _check_pairs(name, stage)


def _check_pairs(name: str, stage: StageConfig) -> None:
    if stage.spec_augment is not None:
        raise RecipeError(
            f"stage {name!r} has objective: dpo and spec_augment -- expected the same audio in every epoch, because the "
            f"log-probabilities of the reference are computed once -- set spec_augment: null"
        )
    if stage.prompt == "tags":
        raise RecipeError(
            f"stage {name!r} has objective: dpo and prompt: tags -- expected natural or chatml, because rejected answers are "
            f"plain words -- set one of them"
        )
