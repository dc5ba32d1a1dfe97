import json

import pytest

from audio_lm.common.errors import DataError
from audio_lm.evaluation.judge.questions import OpenQuestion, read_questions

AIR_BENCH = {
    "meta_info": "A dog barks twice.",
    "question": "What is it?",
    "answer_gt": "A dog.",
    "path": "a.wav",
    "task_name": "sound_QA",
    "dataset_name": "clotho",
    "response": "A cat.",
    "uniq_id": 7,
}


def write(tmp_path, *rows):
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_file_of_air_bench_is_read(tmp_path):
    (question,) = read_questions(write(tmp_path, AIR_BENCH))
    assert question == OpenQuestion("7", "What is it?", "A dog.", "A cat.", "A dog barks twice.", "sound")
    path = tmp_path / "list.json"
    path.write_text(json.dumps([AIR_BENCH]))
    assert read_questions(path) == [question]


def test_an_answer_that_is_missing_is_no_answer_and_not_left_out(tmp_path):
    (question,) = read_questions(write(tmp_path, AIR_BENCH | {"response": None}))
    assert question.answer == ""


def test_own_rows_may_have_several_references(tmp_path):
    row = {"id": "a", "question": "What?", "references": ["a dog", "a bark"], "answer": "dog"}
    (question,) = read_questions(write(tmp_path, row))
    assert question.reference == "1. a dog\n2. a bark"
    assert question.description is None


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([AIR_BENCH, AIR_BENCH], r"answers.jsonl:2: id '7' is that of .*answers.jsonl:1 too"),
        ([{**AIR_BENCH, "question": " "}], r"answers.jsonl:1: no question -- expected a text in question"),
        ([{"id": "a", "question": "b", "reference": "c"}], r":1: no answer .* answer or response"),
        ([], "has no rows"),
        (["text"], r":1: 'text' is no row"),
    ],
)
def test_a_file_that_cannot_be_judged_is_refused_with_its_row(tmp_path, rows, message):
    with pytest.raises(DataError, match=message):
        read_questions(write(tmp_path, *rows))


def test_a_damaged_or_missing_file_is_named(tmp_path):
    path = tmp_path / "answers.jsonl"
    with pytest.raises(DataError, match=r"answers.jsonl cannot be read"):
        read_questions(path)
    path.write_text('{"id": ')
    with pytest.raises(DataError, match=r"answers.jsonl is no JSON"):
        read_questions(path)
