import pytest

from audio_lm.common.errors import RecipeError
from audio_lm.config.benchmark_prompts import fill_prompts
from audio_lm.config.load import load_recipe
from audio_lm.config.yaml_layers import Layer

WITHOUT = "{source: synthetic/events-test, task: sec, metrics: [acc], stage: pretrain}"
KEY = "evaluation.benchmarks.a.prompt"


def filled(benchmark, where="recipes/x.yaml:1", prompts=("natural",)):
    """The prompt format of a benchmark of stage `s0` after filling."""
    stages = {f"s{number}": {"prompt": prompt} for number, prompt in enumerate(prompts)}
    merged = Layer({"stages": stages, "evaluation": {"benchmarks": {"a": benchmark}}}, {KEY: where})
    fill_prompts(merged)
    return merged.tree["evaluation"]["benchmarks"]["a"].get("prompt")


def test_a_benchmark_without_a_prompt_has_that_of_its_stage():
    assert filled({"stage": "s0"}, prompts=("chatml", "tags")) == "chatml"
    assert filled({"stage": "s1"}, prompts=("chatml", "tags")) == "tags"
    assert filled({"stage": "unknown"}) == "natural", "so that only the stage is reported"
    assert filled({"stage": "s0", "prompt": "tags"}) == "tags"


@pytest.mark.parametrize(
    ("benchmark_prompt", "prompts", "expected"),
    [
        ("tags", ("natural", "chatml"), "natural"),
        ("tags", ("natural", "tags"), "tags"),
        ("natural", ("chatml",), "natural"),
    ],
)
def test_a_set_with_tags_is_read_in_a_recipe_without_them(benchmark_prompt, prompts, expected):
    benchmark = {"stage": "s0", "prompt": benchmark_prompt}
    assert filled(benchmark, "conf/benchmarks/x.yaml:3", prompts) == expected


def test_the_prompt_of_the_command_line_reaches_the_benchmarks():
    recipe = load_recipe("qwen_audio", ["stages.pretrain.prompt=chatml"]).recipe
    assert {benchmark.prompt for benchmark in recipe.evaluation.benchmarks.values()} == {"chatml"}
    kept = load_recipe("qwen_audio").recipe.evaluation.benchmarks
    assert {benchmark.prompt for benchmark in kept.values()} == {"tags"}


@pytest.mark.parametrize("prompt", ["tags", "natural"])
def test_a_benchmark_of_the_command_line_without_a_prompt_has_that_of_its_stage(small_recipe, prompt):
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
