import csv

import pytest
from PIL import Image

from audio_lm.evaluation.breakdown import breakdown_of, speaker_scores, write_breakdown
from audio_lm.evaluation.predict import Prediction
from audio_lm.evaluation.score import score_benchmark


def prediction(number, reference, answer, speaker):
    return Prediction(str(number), "ks", (reference,), answer, "en", speaker=speaker)


@pytest.fixture
def predictions():
    return [
        prediction(0, "yes", "yes", "ada"),
        prediction(1, "no", "yes", "ada"),
        prediction(2, "no", "no", "bob"),
        prediction(3, "yes", "yes", "bob"),
        prediction(4, "yes", "maybe", None),
    ]


def test_each_speaker_has_the_scores_of_its_own_clips(predictions):
    found = {one.speaker: one for one in speaker_scores(predictions, ["acc", "wer"])}
    assert found.keys() == {"ada", "bob"}
    for speaker, one in found.items():
        own = [each for each in predictions if each.speaker == speaker]
        assert one.num_clips == len(own)
        assert one.scores == score_benchmark(own, ["acc", "wer"])


def test_one_speaker_alone_has_no_comparison(predictions):
    assert speaker_scores(predictions[:2], ["acc"]) == []
    assert speaker_scores([prediction(0, "yes", "yes", None)] * 3, ["acc"]) == []


def test_a_metric_that_is_undefined_for_a_speaker_is_left_empty(predictions, tmp_path):
    clips = [*predictions, prediction(5, "seven", "seven", "cleo")]
    write_breakdown(tmp_path, breakdown_of("words", clips, ["acc_binary"]), metrics=["acc_binary"])
    rows = list(csv.reader((tmp_path / "words.speakers.csv").open()))
    assert rows == [
        ["speaker", "clips", "acc_binary"],
        ["ada", "2", "0.5"],
        ["bob", "2", "1"],
        ["cleo", "1", ""],
    ]


def test_the_lines_name_the_best_and_the_worst_speaker(predictions):
    lines = list(breakdown_of("words", predictions, ["acc", "wer"]).lines())
    assert lines[0] == "words: answers to each reference, 5 clips"
    assert [line.split() for line in lines[1:4]] == [
        ["reference", "yes", "no", "(other", "answer)", "clips"],
        ["yes", "2", "0", "1", "3"],
        ["no", "1", "1", "0", "2"],
    ]
    assert "accuracy of 2 speakers 1.000 (bob) to 0.500 (ada), 1 clips without a speaker" in lines[4]
    assert "word error rate of 2 speakers 0.000 (bob) to 0.500 (ada)" in lines[5]


def test_a_large_table_is_in_its_file_alone(tmp_path):
    clips = [prediction(number, str(number % 20), "x", None) for number in range(40)]
    parts = breakdown_of("digits", clips, ["acc"])
    assert list(parts.lines())[1] == "  20 labels, in the file digits.confusion.csv"
    write_breakdown(tmp_path, parts, metrics=["acc"])
    assert len((tmp_path / "digits.confusion.csv").read_text().splitlines()) == 21


def test_the_files_are_written_and_those_of_an_earlier_evaluation_removed(predictions, tmp_path):
    write_breakdown(tmp_path, breakdown_of("a/b", predictions, ["acc"]), metrics=["acc"])
    assert {path.name for path in tmp_path.iterdir()} == {
        "a-b.speakers.csv",
        "a-b.confusion.csv",
        "a-b.confusion.png",
    }
    assert Image.open(tmp_path / "a-b.confusion.png").size[0] > 100
    write_breakdown(tmp_path, breakdown_of("a/b", predictions[:1], ["wer"]), metrics=["wer"])
    assert not list(tmp_path.iterdir())
