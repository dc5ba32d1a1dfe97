import subprocess
import sys

import pytest

from audio_lm.common.errors import RecipeError
from audio_lm.metrics.choices import ChoiceReference
from audio_lm.metrics.closed import ClosedScores
from audio_lm.metrics.registry import METRICS, RENAMED, find_metric
from audio_lm.tasks.registry import TASKS


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_every_metric_of_a_task_exists(task):
    for name in task.metrics:
        assert find_metric(name).name == name.partition("(")[0]


def test_the_error_of_a_misspelled_metric_suggests_the_nearest():
    with pytest.raises(RecipeError, match="Did you mean 'wer'"):
        find_metric("werr")


def test_the_error_of_a_renamed_metric_gives_the_new_name():
    for old, new in RENAMED.items():
        with pytest.raises(RecipeError, match=f"'{old}' is now '{new}'"):
            find_metric(old)
        assert new in METRICS
        assert old not in METRICS


@pytest.mark.parametrize("name", ["cer(zh,ja,ko)", "bleu(zh|ja-mecab|13a)", "wer"])
def test_a_remark_in_parentheses_is_ignored(name):
    assert find_metric(name) is METRICS[name.split("(")[0]]


NOTE = "pitch 60, velocity 96, instrument organ, qualities bright"
REFERENCES = {
    "acc_binary": ["yes", "no"],
    "eer": ["yes", "no"],
    "mae": ["age: teens", "age: forties"],
    "quality_map": [NOTE, NOTE],
    "aas": ["<|0.00|>one<|0.50|>", "<|0.00|>two<|0.50|>"],
}


TEXTS = ("one two three four five", "six seven eight nine ten")
WRONG = {"acc_airbench": "C"}  # an answer without a letter is left out by its script


PACKAGED = [metric for metric in METRICS.values() if not metric.needs_program]


@pytest.mark.parametrize("metric", PACKAGED, ids=lambda metric: metric.name)
def test_references_score_best_in_any_order_and_empty_answers_are_accepted(metric):
    answers = references = REFERENCES.get(metric.name, [*TEXTS])
    if metric.needs_choices:
        answers = [f"{letter}. {text}" for letter, text in zip("AB", TEXTS, strict=True)]
        references = [ChoiceReference(text, TEXTS, number) for number, text in enumerate(TEXTS)]
    languages = ["en"] * len(references)
    if metric.reads_logprobs:
        answers = [ClosedScores(TEXTS, scores) for scores in ((0.0, -50.0), (-50.0, 0.0))]
        wrong = float(metric.build()(answers[::-1], references, languages))
        best = float(metric.build()(answers, references, languages))
        assert best > wrong if metric.is_higher_better else best < wrong
        return
    best = float(metric.build()(answers, references, languages))
    empty = float(metric.build()([WRONG.get(metric.name, "")] * len(references), references, languages))
    assert best >= empty if metric.is_higher_better else best <= empty
    assert float(metric.build()(answers[::-1], references[::-1], languages)) == best


def test_the_registry_imports_no_heavy_package():
    heavy = ("torch", "torchmetrics", "lightning", "scipy", "sacrebleu")
    code = f"import sys, audio_lm.metrics.registry; assert not sys.modules.keys() & set({heavy})"
    subprocess.run([sys.executable, "-c", code], check=True)
