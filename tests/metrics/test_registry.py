import subprocess
import sys

import pytest

from audio_lm.common.errors import RecipeError
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


@pytest.mark.parametrize("name", ["cer(zh,ja,ko)", "bleu(zh|ja-mecab|13a)", "wer"])
def test_a_remark_in_brackets_is_no_part_of_the_name(name):
    assert find_metric(name) is METRICS[name.split("(")[0]]


NOTE = "pitch 60, velocity 96, instrument organ, qualities bright"
DECIDED = {
    "acc_binary": ["yes", "no"],
    "eer": ["yes", "no"],
    "mae": ["age: teens", "age: forties"],
    "quality_map": [NOTE, NOTE],
    "aas": ["<|0.00|>one<|0.50|>", "<|0.00|>two<|0.50|>"],
}


@pytest.mark.parametrize("metric", METRICS.values(), ids=lambda metric: metric.name)
def test_the_truth_scores_best_whatever_its_order_and_silence_does_not_crash(metric):
    references = DECIDED.get(metric.name, ["one two three four five", "six seven eight nine ten"])
    languages = ["en"] * len(references)
    best = float(metric.build()(references, references, languages))
    silent = float(metric.build()([""] * len(references), references, languages))
    assert best >= silent if metric.is_higher_better else best <= silent
    assert float(metric.build()(references[::-1], references[::-1], languages)) == best


def test_names_are_there_without_what_counts():
    heavy = ("torch", "torchmetrics", "lightning", "scipy", "sacrebleu")
    look = f"import sys, audio_lm.metrics.registry; assert not sys.modules.keys() & set({heavy})"
    subprocess.run([sys.executable, "-c", look], check=True)
