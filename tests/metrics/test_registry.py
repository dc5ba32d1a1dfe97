import pytest

from audio_lm.errors import RecipeError
from audio_lm.metrics.registry import METRICS, NEEDS_JAVA, find_metric
from audio_lm.tasks.registry import TASKS


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_every_metric_of_a_task_is_there_or_says_why_not(task):
    for name in task.metrics:
        if name in NEEDS_JAVA:
            with pytest.raises(RecipeError, match="Java"):
                find_metric(name)
        else:
            assert find_metric(name).name == name


def test_a_misspelt_metric_is_answered_with_the_nearest():
    with pytest.raises(RecipeError, match="Did you mean 'wer'"):
        find_metric("werr")


@pytest.mark.parametrize("metric", METRICS.values(), ids=lambda metric: metric.name)
def test_every_metric_takes_one_answer_and_gives_a_number(metric):
    assert isinstance(metric.score(["one"], ["one"], ["en"]), float)
