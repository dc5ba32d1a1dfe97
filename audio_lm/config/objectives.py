"""Checks of the objective of a stage against its other settings."""

from audio_lm.common.errors import RecipeError
from audio_lm.config.schema import StageConfig
from audio_lm.training.objective_config import DPO, GRPO, NEXT_TOKEN


def check_objective(name: str, stage: StageConfig) -> None:
    """Check that the settings of a stage fit its objective.

    Args:
        name: of the stage.

    Raises:
        RecipeError: a setting has no effect, or cannot be used.
    """
    for objective, table in ((DPO, stage.dpo), (GRPO, stage.grpo)):
        if table is not None and stage.objective != objective:
            raise RecipeError(
                f"stage {name!r} has a table {objective} and objective: {stage.objective}, so it has no effect -- expected "
                f"objective: {objective} -- set it, or remove the table"
            )
    if stage.objective == GRPO and stage.grpo is None:
        raise RecipeError(
            f"stage {name!r} has objective: grpo and no table grpo -- expected rewards -- set some, such as grpo: {{rewards: "
            f"{{acc: 1}}}}"
        )
    if stage.objective != NEXT_TOKEN and stage.spec_augment is not None:
        raise RecipeError(
            f"stage {name!r} has objective: {stage.objective} and spec_augment -- expected unmasked audio, because answers are "
            f"compared with those to the same audio -- set spec_augment: null"
        )
    if stage.objective == DPO and stage.prompt == "tags":
        raise RecipeError(
            f"stage {name!r} has objective: dpo and prompt: tags -- expected natural or chatml, because rejected answers are "
            f"plain words -- set one of them"
        )
    if stage.grpo is not None and stage.pack_tokens <= stage.grpo.num_answers * stage.grpo.max_new_tokens:
        raise RecipeError(
            f"stage {name!r} has pack_tokens: {stage.pack_tokens}, and {stage.grpo.num_answers} answers of up to "
            f"{stage.grpo.max_new_tokens} tokens -- expected room for all answers to a question, and as many copies of it -- "
            f"raise pack_tokens, or lower grpo.num_answers or grpo.max_new_tokens"
        )
