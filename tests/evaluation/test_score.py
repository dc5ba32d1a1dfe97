import json
import math

import pytest

from audio_lm.common.errors import DataError
from audio_lm.evaluation.config import BenchmarkConfig
from audio_lm.evaluation.predict import Prediction
from audio_lm.evaluation.score import read_scores, score_benchmark, with_benchmark_keys, write_scores
from tests.forked import on_ranks, together


def test_scores_are_those_of_the_metrics():
    predictions = [
        Prediction("a", "asr", ("one two",), "one", "en"),
        Prediction("b", "asr", ("three",), "three", "en"),
    ]
    assert score_benchmark(predictions, ["wer", "acc"]) == {"wer": pytest.approx(1 / 3), "acc": 0.5}


def test_scoring_on_one_rank_needs_no_other_rank():
    predictions = [Prediction("a", "asr", ("one two",), "one", "en")]

    def scores(number):
        return score_benchmark(predictions, ["wer", "macro_f1"]) if number == 0 else None

    assert on_ranks(2, together(scores)) == [{"wer": 0.5, "macro_f1": 0.0}, None]


def test_no_predictions_have_no_score():
    with pytest.raises(DataError, match="without answers"):
        score_benchmark([], ["wer"])


def test_the_error_of_an_undefined_metric_names_its_task():
    with pytest.raises(DataError, match="metric 'acc_binary' of task 'aqa': no reference"):
        score_benchmark([Prediction("a", "aqa", ("two",), "two")], ["acc_binary"])


def test_the_error_names_an_invalid_file_of_scores(tmp_path):
    for content in ("{", "[1]", '{"a": "x"}', '{"a": [1]}'):
        (tmp_path / "scores.json").write_text(content)
        with pytest.raises(DataError, match=r"scores\.json contains no scores"):
            read_scores(tmp_path / "scores.json")


def test_keys_of_an_earlier_release_are_translated():
    digits = BenchmarkConfig("synthetic/dev-other-test", "asr", ["wer", "cer"], "tags", "pretrain")
    events = BenchmarkConfig("synthetic/events-test", "sec", ["acc"], "tags", "pretrain")
    earlier = {
        "test/synthetic/dev-other/asr/wer": 0.1,
        "untrained/test/synthetic/dev-other/asr/wer": 1.0,
        "test/gone/all/asr/wer": 0.2,
        "test/synthetic/events/sec/acc": 0.3,
        "events/acc": 0.4,
    }
    assert with_benchmark_keys(earlier, {"digits": digits, "events": events}) == {
        "digits/wer": 0.1,
        "untrained/digits/wer": 1.0,
        "test/gone/all/asr/wer": 0.2,
        "events/acc": 0.4,
    }, "a score of today is newer than one under an earlier key; scores of no benchmark are kept"


def test_infinity_is_saved_as_null_and_read_back(tmp_path):
    path = tmp_path / "scores.json"
    write_scores(path, {"b": math.inf, "a": 0.5})
    assert json.loads(path.read_text()) == {"a": 0.5, "b": None}
    assert read_scores(path) == {"a": 0.5, "b": math.inf}
    assert read_scores(tmp_path / "none.json") == {}
    assert [file.name for file in tmp_path.iterdir()] == ["scores.json"]


def test_an_answer_is_compared_with_all_references():
    predictions = [Prediction("a", "aac", ("a bell rings", "the sound of a bell"), "a bell rings", "en")]
    assert score_benchmark(predictions, ["rouge_l", "caption_overlap"]) == {
        "rouge_l": 1.0,
        "caption_overlap": 1.0,
    }
    with pytest.raises(DataError, match=r"metric 'acc'.*question 'a' has 2 references"):
        score_benchmark(predictions, ["acc"])


def test_scores_of_an_earlier_run_are_read_under_the_names_of_metrics_today(tmp_path):
    path = tmp_path / "scores.json"
    write_scores(path, {"test/a/b/asr/wer_official": 0.5, "untrained/test/a/b/asr/wer_official": 1.0})
    assert read_scores(path) == {
        "test/a/b/asr/wer_qwen_audio": 0.5,
        "untrained/test/a/b/asr/wer_qwen_audio": 1.0,
    }


def test_questions_with_choices_are_scored_in_the_order_of_the_file():
    choices = ("man", "woman")
    answers = [
        Prediction(id=str(n), task="aqa", references=("B. woman",), answer=text, choices=choices)
        for n, text in enumerate(["B", "a man"])
    ]
    assert score_benchmark(answers, ["acc_choice", "acc_mmau"]) == {"acc_choice": 0.5, "acc_mmau": 0.0}
    bare = [Prediction(id="x", task="aqa", references=("woman",), answer="B")]
    with pytest.raises(DataError, match="question 'x' has no choices, which the metric needs"):
        score_benchmark(bare, ["acc_choice"])


def test_a_metric_that_is_undefined_is_left_out_once_named_and_takes_no_other_with_it(caplog):
    predictions = [Prediction("a", "aac", ("a bell rings", "the sound of a bell"), "a bell rings", "en")]
    for _ in range(2):
        assert score_benchmark(predictions, ["acc", "rouge_l"]) == {"rouge_l": 1.0}
    (record,) = [one for one in caplog.records if "2 references" in one.getMessage()]
    assert record.getMessage().startswith("acc is not computed: metric 'acc' of task 'aac': question 'a'")
