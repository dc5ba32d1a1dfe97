import pytest

from audio_lm.common.errors import RecipeError
from audio_lm.config.load import load_recipe

WITHOUT = "{source: synthetic/events-test, task: sec, metrics: [acc], stage: pretrain}"


@pytest.mark.parametrize("prompt", ["tags", "natural"])
def test_a_benchmark_without_a_prompt_has_that_of_its_stage(small_recipe, prompt):
    recipe = load_recipe(
        small_recipe,
        [
            f"+evaluation.benchmarks.new={WITHOUT}",
            f"stages.pretrain.prompt={prompt}",
            "evaluation.benchmarks.events.prompt=chatml",
        ],
    ).recipe
    assert recipe.evaluation.benchmarks["new"].prompt == prompt
    assert recipe.evaluation.benchmarks["events"].prompt == "chatml", "a named one stays"


def test_only_the_unknown_stage_of_a_benchmark_without_a_prompt_is_reported(small_recipe):
    wrong = WITHOUT.replace("pretrain", "pretrian")
    with pytest.raises(RecipeError) as error:
        load_recipe(small_recipe, [f"+evaluation.benchmarks.new={wrong}"])
    assert "pretrian" in str(error.value)
