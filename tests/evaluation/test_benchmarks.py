import subprocess
import sys
from dataclasses import replace

import pytest

from audio_lm.common.errors import RecipeError
from audio_lm.evaluation.benchmarks import check_benchmark, predictions_name
from audio_lm.evaluation.config import BenchmarkConfig, EvaluationConfig

DIGITS = BenchmarkConfig("synthetic/digits-test", "asr", ["wer", "cer(zh,ja,ko)"], "tags", "pretrain")


def check_all(**benchmarks):
    evaluation = EvaluationConfig(benchmarks)
    for name in benchmarks:
        check_benchmark(name, evaluation)


def test_benchmarks_that_differ_in_one_setting_are_accepted():
    check_all(
        digits=DIGITS,
        stamps=replace(DIGITS, task="srwt-en"),
        phrases=replace(DIGITS, source="synthetic/phrases-test"),
        official=replace(DIGITS, metrics=["wer_qwen_audio"]),
        talk=replace(DIGITS, task="chat", metrics=["acc"]),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": "digits"}, "corpus/subset-split"),
        ({"task": "ars"}, "Did you mean 'asr'"),
        ({"metrics": ["werr"]}, "Did you mean 'wer'"),
        ({"metrics": []}, "no metric"),
    ],
)
def test_an_error_message_names_the_benchmark(change, message):
    with pytest.raises(RecipeError, match=f"^benchmark 'digits': .*{message}"):
        check_all(digits=replace(DIGITS, **change))


def test_two_benchmarks_may_compare_prompts_on_the_same_clips():
    check_all(tags=DIGITS, natural=replace(DIGITS, prompt="natural"))


@pytest.mark.parametrize("name", ["untrained", "majority", "majority/digits"])
def test_a_benchmark_cannot_have_the_name_of_a_baseline(name):
    with pytest.raises(RecipeError, match=f"benchmark '{name}' has the name of a baseline"):
        check_all(**{name: DIGITS})


def test_two_benchmarks_cannot_write_the_same_predictions_file():
    assert predictions_name("数字") != predictions_name("音乐")
    with pytest.raises(RecipeError, match=r"predictions/a-b\.jsonl"):
        check_all(**{"a/b": DIGITS, "a b": replace(DIGITS, task="srwt-en")})


def test_checking_benchmarks_does_not_import_torch():
    code = "import sys, audio_lm.evaluation.benchmarks; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
