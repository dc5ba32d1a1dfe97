from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_lm.common.errors import DataError
from audio_lm.data.collate import Collator
from audio_lm.data.examples import ExampleMaker, with_example
from audio_lm.evaluation.predict import (
    AudioSpan,
    EvalExample,
    Prediction,
    predict,
    prediction_of,
    predictions_path,
    read_predictions,
    write_predictions,
)


def test_every_question_is_answered_in_order(make_cuts, make_model, vocabulary):
    maker = ExampleMaker(vocabulary, "tags", with_answer=False)
    cuts = [with_example(cut, maker.example(cut, "asr")) for cut in make_cuts(3)]
    examples = [EvalExample(cut.id, "asr", ("one two",), "en") for cut in cuts]
    packs = [(Collator()(cuts[:2]), examples[:2]), (Collator()(cuts[2:]), examples[2:])]
    answers = list(predict(make_model(), packs, vocabulary, end_ids={vocabulary.end_id}, max_new_tokens=3))
    assert [answer.id for answer in answers] == [cut.id for cut in cuts]
    assert all(answer.references == ("one two",) and answer.language == "en" for answer in answers)


def test_a_prediction_has_what_the_question_and_the_answer_say():
    question = EvalExample(
        "a", "acc", ("dog",), "en", "jackson", AudioSpan("/a/b.wav", 1.5, 2.0), ("dog", "cat")
    )
    found = prediction_of(question, "cat", {"dog": -1.5, "cat": -0.5}, "12ab")
    assert found == Prediction(
        "a", "acc", ("dog",), "cat", "en", "jackson", "/a/b.wav", 1.5, 2.0,
        choices=("dog", "cat"), allowed=("dog", "cat"), logprobs=(-1.5, -0.5), stamp="12ab",
    )  # fmt: skip


def test_written_predictions_are_read_back(tmp_path):
    predictions = [
        Prediction("a", "asr", ("你好",), "<|zh|>你", "zh"),
        Prediction(
            "b", "asr", ("x", "z"), 'y "z"\n', speaker="jackson", path="/a/b.wav", start=1.5, duration=2.0
        ),
    ]
    path = predictions_path(tmp_path / "p", "digits/asr test")
    write_predictions(path, predictions)
    assert path.name == "digits-asr-test.jsonl"
    assert path.read_text().splitlines()[0].endswith('"language": "zh"}'), "absent values are left out"
    assert read_predictions(path) == predictions
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@given(answer=st.text())
def test_any_answer_text_is_read_back_from_the_file(tmp_path_factory, answer):
    path = tmp_path_factory.mktemp("answers") / "a.jsonl"
    predictions = [
        Prediction("a", "asr", ("x",), answer + "\u2028\x85"),
        Prediction("b", "asr", (answer,), "\r\n"),
    ]
    write_predictions(path, predictions)
    assert read_predictions(path) == predictions


def test_no_predictions_give_an_empty_file(tmp_path):
    write_predictions(tmp_path / "a.jsonl", [])
    assert read_predictions(tmp_path / "a.jsonl") == []


def test_the_error_names_a_missing_file_or_an_invalid_line(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_predictions(tmp_path / "none.jsonl")
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": "a", "task": "asr", "reference": "x", "answer": "y"}\n{"id": 1}\n')
    with pytest.raises(DataError, match=r"a\.jsonl:2"):
        read_predictions(path)


def test_predictions_with_a_single_reference_key_are_read(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": "a", "task": "asr", "reference": "x\\ny", "answer": "y", "language": "zh-CN"}\n')
    assert read_predictions(path) == [Prediction("a", "asr", ("x\ny",), "y", "zh-CN")]


@pytest.mark.parametrize("key", ["speaker", "path"])
def test_the_error_names_a_line_whose_speaker_or_path_is_no_text(tmp_path, key):
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"id": "a", "task": "asr", "references": ["x"], "answer": "y", "{key}": 3}}\n')
    with pytest.raises(DataError, match=rf"a\.jsonl:1: no prediction \({key} 3"):
        read_predictions(path)


@pytest.mark.parametrize("references", ["[]", '"x"', "[1]", "null"])
def test_the_error_names_a_line_with_invalid_references(tmp_path, references):
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"id": "a", "task": "aac", "references": {references}, "answer": "y"}}\n')
    with pytest.raises(DataError, match=r"a\.jsonl:1: no prediction"):
        read_predictions(path)


def test_choices_are_kept(tmp_path):
    prediction = Prediction(id="a", task="aqa", references=("man",), answer="A", choices=("man", "woman"))
    write_predictions(tmp_path / "p.jsonl", [prediction])
    assert read_predictions(tmp_path / "p.jsonl") == [prediction]


def test_a_duplicated_id_is_refused_by_line(tmp_path):
    path = tmp_path / "a.jsonl"
    one = Prediction(id="x", task="asr", references=("a",), answer="a")
    write_predictions(path, [one, replace(one, id="y"), replace(one, answer="b")])
    with pytest.raises(DataError, match=r"a\.jsonl:3: id 'x' is also that of line 1 -- expected one answer"):
        read_predictions(path)
