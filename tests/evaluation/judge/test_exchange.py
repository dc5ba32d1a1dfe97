import json

import pytest

from audio_lm.common.errors import DataError
from audio_lm.evaluation.judge.exchange import export_requests, import_replies
from audio_lm.evaluation.judge.questions import OpenQuestion

QUESTIONS = [OpenQuestion(str(number), "What?", "A dog.", f"answer {number // 2}") for number in range(4)]


@pytest.fixture
def requests(tmp_path):
    path = tmp_path / "requests.jsonl"
    assert export_requests(path, QUESTIONS, judge="gpt") == 4
    return [json.loads(line) for line in path.read_text().splitlines()]


def replies(tmp_path, rows):
    path = tmp_path / "replies.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return import_replies([path], {"open": QUESTIONS}, judge="")


def batch_row(request, text="8 6"):
    body = {"model": "gpt-1", "choices": [{"message": {"content": text}}]}
    return {"id": "x", "custom_id": request["custom_id"], "response": {"status_code": 200, "body": body}}


def test_requests_have_the_form_of_a_batch_and_equal_prompts_are_one(requests):
    assert len({row["custom_id"] for row in requests}) == 4
    for row in requests:
        assert row["url"] == "/v1/chat/completions"
        assert row["body"]["model"] == "gpt"
        assert row["body"]["temperature"] == 0
        assert len(row["custom_id"]) <= 64


def test_the_output_of_a_batch_is_read_for_all_questions_with_that_prompt(tmp_path, requests):
    verdicts, num_other = replies(tmp_path, [batch_row(request) for request in requests])
    assert num_other == 0
    assert sorted((each.id, each.order) for each in verdicts["open"]) == [
        (str(number), order) for number in range(4) for order in ("answer_first", "reference_first")
    ]
    assert {each.judge for each in verdicts["open"]} == {"gpt-1"}


def test_scores_are_those_of_assistant_1_and_2(tmp_path, requests):
    row = {"custom_id": requests[1]["custom_id"], "scores": [3, 9], "judge": "human"}
    (first, _) = replies(tmp_path, [row])[0]["open"]
    assert (first.order, first.scores, first.judge) == ("answer_first", (9, 3), "human")


def test_replies_to_other_answers_are_counted(tmp_path, requests):
    other = batch_row({"custom_id": "old-answer_first"})
    assert replies(tmp_path, [other, batch_row(requests[0])])[1] == 1
    with pytest.raises(DataError, match="none of 1 replies is to these questions and answers"):
        replies(tmp_path, [other])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda row: [row, row], r"replies.jsonl:2: custom_id '.*' occurs twice"),
        (lambda row: [row | {"custom_id": None}], r":1: no custom_id"),
        (lambda row: [row | {"response": None}], r":1: neither reply, scores nor response.body"),
        (lambda row: [{"custom_id": row["custom_id"], "reply": "8 6"}], r":1: no name of the judge"),
        (lambda row: ["text"], r":1: '\"text\"' is no reply"),
    ],
)
def test_a_line_that_is_no_reply_is_refused(tmp_path, requests, change, message):
    with pytest.raises(DataError, match=message):
        replies(tmp_path, change(batch_row(requests[0])))
