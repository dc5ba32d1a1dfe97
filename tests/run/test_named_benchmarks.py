import pytest

from audio_lm.common.errors import RecipeError, UserError
from audio_lm.run.named_benchmarks import BenchmarkOptions, metrics_of


def benchmarks(task="asr", **options):
    given = {"sources": ["fsdd/single-test"], "tasks": ["asr"], **options}
    return dict(BenchmarkOptions(**given).benchmarks(task, stage="s", prompt="tags"))


def test_every_combination_is_a_benchmark_with_a_name_of_its_own():
    found = benchmarks(sources=["a/b-test", "c/d-test"], prompts=["tags", "natural"], metrics=["wer"])
    assert {name: (one.source, one.prompt) for name, one in found.items()} == {
        "a/b-test/asr": ("a/b-test", "tags"),
        "a/b-test/asr/natural": ("a/b-test", "natural"),
        "c/d-test/asr": ("c/d-test", "tags"),
        "c/d-test/asr/natural": ("c/d-test", "natural"),
    }


def test_another_question_is_another_benchmark():
    names = [
        name
        for question in ("What does it say?", "Which digit?")
        for name in benchmarks(question=question, prompts=["natural"])
    ]
    assert len(set(names)) == 2
    assert [*benchmarks(name="mine")] == ["mine"]


def test_metrics_are_those_of_the_task_unless_named():
    assert benchmarks()["fsdd/single-test/asr"].metrics == ["wer", "cer"]
    assert benchmarks(metrics=["cer"])["fsdd/single-test/asr"].metrics == ["cer"]
    assert metrics_of("aac") == ["cider_d", "spice", "spider"]
    with pytest.raises(RecipeError, match=r"'chat' has no metric of its own.*--metrics"):
        metrics_of("chat")
    with pytest.raises(RecipeError, match="Did you mean 'asr'"):
        metrics_of("ars")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sources": []}, "--source is missing"),
        ({"tasks": []}, "--task is missing"),
        ({"prompts": ["tag"]}, "Did you mean 'tags'"),
        ({"name": "mine", "tasks": ["asr", "lid"]}, "--name mine is one name, and the options give 2"),
    ],
)
def test_options_that_name_no_benchmark_are_refused(options, words):
    with pytest.raises(UserError, match=words):
        benchmarks(**options)
