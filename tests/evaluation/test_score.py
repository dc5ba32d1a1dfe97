import json
import math

import pytest

from audio_lm.common.errors import DataError
from audio_lm.evaluation.predict import Prediction
from audio_lm.evaluation.score import read_scores, score_benchmark, score_path, write_scores
from tests.forked import on_ranks, together


def test_scores_are_those_of_the_metrics():
    predictions = [
        Prediction("a", "asr", ("one two",), "one", "en"),
        Prediction("b", "asr", ("three",), "three", "en"),
    ]
    assert score_benchmark(predictions, ["wer", "acc"]) == {"wer": pytest.approx(1 / 3), "acc": 0.5}


def test_one_rank_scores_alone():
    predictions = [Prediction("a", "asr", ("one two",), "one", "en")]

    def scores(number):
        return score_benchmark(predictions, ["wer", "macro_f1"]) if number == 0 else None

    assert on_ranks(2, together(scores)) == [{"wer": 0.5, "macro_f1": 0.0}, None]


def test_nothing_answered_has_no_score():
    with pytest.raises(DataError, match="without answers"):
        score_benchmark([], ["wer"])


def test_a_metric_nothing_can_decide_is_told_with_its_task():
    with pytest.raises(DataError, match="metric 'acc_binary' of task 'aqa': no reference"):
        score_benchmark([Prediction("a", "aqa", ("two",), "two")], ["acc_binary"])


def test_a_spoilt_file_of_scores_is_named(tmp_path):
    for content in ("{", "[1]", '{"a": "x"}', '{"a": [1]}'):
        (tmp_path / "scores.json").write_text(content)
        with pytest.raises(DataError, match=r"scores\.json contains no scores"):
            read_scores(tmp_path / "scores.json")


def test_the_path_begins_with_the_split():
    assert score_path("librispeech/dev-other-test", "asr") == "test/librispeech/dev-other/asr"


def test_infinity_survives_a_file_that_stays_json(tmp_path):
    path = tmp_path / "scores.json"
    write_scores(path, {"b": math.inf, "a": 0.5})
    assert json.loads(path.read_text()) == {"a": 0.5, "b": None}
    assert read_scores(path) == {"a": 0.5, "b": math.inf}
    assert read_scores(tmp_path / "none.json") == {}
    assert [file.name for file in tmp_path.iterdir()] == ["scores.json"]


def test_one_question_is_compared_with_all_of_its_references():
    predictions = [Prediction("a", "aac", ("a bell rings", "the sound of a bell"), "a bell rings", "en")]
    assert score_benchmark(predictions, ["rouge_l", "caption_overlap"]) == {
        "rouge_l": 1.0,
        "caption_overlap": 1.0,
    }
    with pytest.raises(DataError, match=r"metric 'acc'.*question 'a' has 2 references"):
        score_benchmark(predictions, ["rouge_l", "acc"])
