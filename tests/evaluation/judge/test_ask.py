import pytest

from audio_lm.common.answer_cache import Reply
from audio_lm.common.chat_endpoint import EndpointError
from audio_lm.common.errors import DataError, UserError
from audio_lm.evaluation.judge.ask import judge_questions
from audio_lm.evaluation.judge.questions import OpenQuestion

QUESTIONS = [OpenQuestion(str(number), f"What is {number}?", "A dog.", "A cat.") for number in range(8)]


class Scripted:
    """Client that replies with a function of the prompt and of the seed."""

    def __init__(self, reply):
        self.reply = reply
        self.seeds = []

    def answer(self, messages, sampling=None):
        self.seeds.append(sampling.seed)
        return Reply(self.reply(messages[0]["content"], sampling.seed), "tiny")


def judge(reply, questions=QUESTIONS):
    client = Scripted(reply)
    found = judge_questions(client, questions, num_parallel=2, place="replies.jsonl")
    return client, found


def test_each_question_is_sent_in_both_orders():
    client, found = judge(lambda prompt, seed: "9 2" if "1s Answer]\nA dog." in prompt else "3 8")
    verdicts = list(found)
    assert [verdict.id for verdict in verdicts[:4]] == ["0", "0", "1", "1"]
    assert [tuple(verdict.scores) for verdict in verdicts[:2]] == [(9, 2), (8, 3)]
    assert client.seeds == [None] * 16


def test_a_reply_without_scores_is_tried_again_with_a_seed():
    client, found = judge(lambda prompt, seed: "7 7" if seed else "Both are good.")
    assert all(verdict.scores for verdict in found)
    assert sorted(client.seeds, key=str) == [1] * 16 + [None] * 16


def test_a_reply_that_stays_without_scores_is_counted_and_kept():
    _, found = judge(lambda prompt, seed: "no" if "What is 3?" in prompt else "7 7")
    assert [verdict.id for verdict in found if verdict.scores is None] == ["3", "3"]


def test_an_empty_answer_concerns_one_question_only():
    def reply(prompt, seed):
        if "What is 3?" in prompt:
            raise EndpointError("an empty answer", "empty")
        return "7 7"

    assert sum(verdict.scores is None for verdict in judge(reply)[1]) == 2


def test_nonsense_from_the_start_ends_it():
    _, found = judge(lambda prompt, seed: "Both are good.")
    with pytest.raises(
        DataError, match=r"judge 'tiny' gave no two scores in 10 replies, such as 'Both are good.'"
    ):
        list(found)


def test_a_failure_of_the_server_says_what_is_kept():
    def reply(prompt, seed):
        if "What is 3?" in prompt:
            raise EndpointError("it was silent for 1 s -- expected an answer -- check it", "timeout")
        return "7 7"

    with pytest.raises(
        UserError, match=r"check it; at least 6 of 16 replies are kept in replies.jsonl, and the same command"
    ):
        list(judge(reply)[1])
