import pytest

from audio_lm.common.errors import RecipeError
from audio_lm.config.load import load_recipe
from audio_lm.config.own_tasks import fill_metrics
from audio_lm.config.yaml_layers import Layer

TASK = '{label: dynamic, prompt: "How loud is it?"}'
RECIPE = """use: {{model: tiny, hardware: cpu}}
tasks:
  loud: {task}
stages:
  pretrain:
    prompt: natural
    mixture: {{sources: {{loud: [mine/all-train]}}, weights: {{loud: 1}}}}
    parts:
      encoder: {{lr: 1e-3}}
      projector: {{lr: 1e-3}}
      new_tokens: {{lr: 1e-3}}
      language_model: {{lr: 1e-3}}
    steps: 2
evaluation:
  benchmarks:
    loud: {{source: mine/all-test, task: loud, prompt: natural, stage: pretrain}}
"""


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Function that loads a recipe with an own task."""
    monkeypatch.chdir(tmp_path)

    def run(*overrides, task=TASK):
        (tmp_path / "own.yaml").write_text(RECIPE.format(task=task))
        return load_recipe(tmp_path / "own.yaml", overrides)

    return run


def test_one_question_is_a_list_of_one(load):
    recipe = load().recipe
    assert recipe.tasks["loud"].prompt == ["How loud is it?"]
    assert load(task="{label: dynamic, prompt: [A, B], metric: macro_f1}").recipe.tasks["loud"].prompt == [
        "A",
        "B",
    ]
    assert recipe.task_table["loud"].needs == ("dynamic",)
    assert recipe.task_table["asr"].name == "asr"


def test_a_benchmark_without_metrics_has_those_of_its_task(load):
    assert load().recipe.evaluation.benchmarks["loud"].metrics == ["acc"]
    task = "{label: dynamic, prompt: x, metric: [acc, macro_f1]}"
    assert load(task=task).recipe.evaluation.benchmarks["loud"].metrics == ["acc", "macro_f1"]
    own = load("evaluation.benchmarks.loud.metrics=[mae]", task=task).recipe
    assert own.evaluation.benchmarks["loud"].metrics == ["mae"]


def test_a_benchmark_of_a_task_in_code_has_its_metrics():
    merged = Layer(
        {"evaluation": {"benchmarks": {"a": {"task": "aac"}, "b": {"task": "chat"}, "c": {"task": ["x"]}}}}
    )
    fill_metrics(merged)
    assert merged.tree["evaluation"]["benchmarks"] == {
        "a": {"task": "aac", "metrics": ["cider_d", "spice", "spider"]},
        "b": {"task": "chat"},
        "c": {"task": ["x"]},
    }


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ("{prompt: x}", r"own.yaml:3: `tasks.loud.label` - is missing"),
        ("{label: dynamic}", r"own.yaml:3: `tasks.loud.prompt` - is missing"),
        ("{label: dynamic, prompt: []}", "own.yaml:3: a task needs a question"),
        (
            "{label: dynamic, prompt: x, metric: accc}",
            "own.yaml:3: unknown metric 'accc'. Did you mean 'acc'",
        ),
        ("{label: dynamic, prompt: x, metric: []}", "metrics` - is missing"),
        ("{labl: dynamic, prompt: x}", "own.yaml:3: `tasks.loud.labl`.*Did you mean"),
        ("{label: turns, prompt: x}", "own.yaml:3: label 'turns' is no text"),
        ("{label: duration, prompt: x}", "own.yaml:3: label 'duration' is reserved"),
        ("{label: dynamic, prompt: 'is it {dynamic}'}", "own.yaml:3: .*which is the answer"),
        ("{label: dynamic, prompt: x, prompt_zh: '{'}", "own.yaml:3: .*for braces"),
        ("{label: dynamic, prompt: x, tags: bar}", "own.yaml:3: task 'loud' has the tags 'bar'"),
        (
            "{label: dynamic, prompt: x, tags: '<|startofanalysis|><|loud|>'}",
            r"own.yaml:3: .*uses the tags \['<\|loud",
        ),
        ("{label: dynamic, prompt: {a: b}}", "own.yaml:3: `tasks.loud.prompt` is a table; it must be a list"),
        ("5", "own.yaml:3: `tasks.loud`"),
    ],
)
def test_an_invalid_task_is_refused_with_its_line(load, task, reason):
    with pytest.raises(RecipeError, match=reason):
        load(task=task)


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("+tasks.asr={label: a, prompt: b}", "command line: task 'asr' exists already"),
        ("+tasks.chat={label: a, prompt: b}", "command line: task 'chat' exists already"),
        (
            "+tasks.room={label: room, prompt: b}",
            "command line: task 'room' has no source, so it has no effect",
        ),
        ("tasks.room={label: room, prompt: b}", r"did you mean|add a new one with \+tasks.room"),
        ("tasks.loud.label=turns", "command line: label 'turns'"),
        ("evaluation.benchmarks.loud.task=luod", "Did you mean 'loud'"),
        ("tasks=[a]", "`tasks` is a list; it must be a table"),
    ],
)
def test_an_invalid_override_is_refused(load, override, reason):
    with pytest.raises(RecipeError, match=reason):
        load(override)


def test_the_definition_decides_the_result_and_its_metric_does_not(load):
    before = load().signature
    assert load("tasks.loud.metric=macro_f1").signature == before
    for change in (
        "label=room",
        "prompt=x",
        "prompt_zh=x",
        "tags='<|startofanalysis|><|en|><|question|>x<|answer|>'",
    ):
        assert load(f"tasks.loud.{change}").signature != before


def test_a_recipe_without_own_tasks_does_not_mention_them():
    assert "\ntasks:" not in load_recipe("demo").text


def test_the_kept_recipe_of_a_run_is_the_same(load, tmp_path):
    composed = load()
    (tmp_path / "recipe.yaml").write_text(composed.text)
    again = load_recipe(tmp_path / "recipe.yaml", is_complete=True)
    assert (again.recipe, again.signature) == (composed.recipe, composed.signature)


def test_in_a_smoke_test_without_the_data_the_answer_is_a_label_of_the_stand_in(load, tmp_path):
    composed = load(
        "use.scale=tiny", task="{label: dynamic, prompt: 'How loud is the {instrument} {{now}}?'}"
    )
    task = composed.recipe.tasks["loud"]
    assert task.label == "gender"
    assert task.prompt == ["How loud is the flute {{now}}?"]
    assert composed.recipe.stages["pretrain"].mixture.sources == {"loud": ["synthetic/digits-train"]}
    assert any("label dynamic of task loud is replaced by gender" in note for note in composed.notes)
    (tmp_path / "recipe.yaml").write_text(composed.text)
    assert load_recipe(tmp_path / "recipe.yaml", is_complete=True).recipe == composed.recipe


def test_a_smoke_test_drops_a_task_of_a_dropped_benchmark(load):
    added = (
        "+evaluation.benchmarks.room={source: mine/all-test, task: room, prompt: natural, stage: pretrain}"
    )
    composed = load("+tasks.room={label: room, prompt: x}", added, "use.scale=tiny")
    assert list(composed.recipe.tasks) == ["loud"]
    assert composed.recipe.evaluation.benchmarks == {}
