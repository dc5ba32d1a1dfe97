import random

import pytest
from scipy import stats

from audio_lm.common.errors import DataError
from audio_lm.evaluation.judge.prompts import ORDERS, Scores
from audio_lm.evaluation.judge.questions import OpenQuestion
from audio_lm.evaluation.judge.verdicts import (
    FOLDER,
    Verdict,
    forget_judgement,
    judge_lines,
    judge_scores,
    judgement_of,
    read_judgements,
    write_judgement,
)

QUESTIONS = [
    OpenQuestion(str(number), "What?", "A dog.", "A cat.", group="sound" if number < 2 else "music")
    for number in range(3)
]
SCORES = {"0": [(8, 4), (7, 5)], "1": [(6, 6), (6, 9)], "2": [(9, 1), None]}


def verdicts(judge="tiny"):
    return [
        Verdict(name, order, judge, "reply", scores and Scores(*scores))
        for name, pair in SCORES.items()
        for order, scores in zip(ORDERS, pair, strict=True)
    ]


def judged(some):
    return judgement_of(QUESTIONS, some, endpoint="http://here/v1", sampling={"temperature": 0.0})


def test_the_score_of_a_clip_is_the_mean_of_both_orders():
    judgement = judged(verdicts())
    every = judgement.groups["all"]
    assert (every.num_questions, every.num_scored, judgement.num_without_scores) == (3, 2, 1)
    assert every.answer == pytest.approx((4.5 + 7.5) / 2)
    assert every.reference == pytest.approx((7.5 + 6) / 2)
    assert every.wins == 0.5
    # Second place: 4 - 8 and 6 - 6 for the answer, 7 - 5 and 6 - 9 for the reference.
    assert every.place == pytest.approx(((-4 + 2) / 2 + (0 - 3) / 2) / 2)
    assert 4.5 <= every.low <= every.answer <= every.high <= 7.5
    assert list(judgement.groups) == ["all", "sound"]
    assert list(judgement.prompts) == ["open"]


def test_verdicts_of_two_judges_are_not_mixed():
    with pytest.raises(DataError, match="verdicts of other and tiny -- expected those of one judge"):
        judged([*verdicts(), *verdicts("other")])


def test_without_a_question_in_both_orders_there_is_no_score():
    with pytest.raises(DataError, match="none of 3 questions has a verdict in both orders"):
        judged([verdict for verdict in verdicts() if verdict.order == ORDERS[0]])


def test_a_written_judgement_is_read_back(tmp_path):
    folder = tmp_path / FOLDER
    judgement = judged(verdicts())
    write_judgement(folder, "a/b", judgement, verdicts())
    (folder / "other.json").write_text("{}")
    assert read_judgements(folder) == {"a/b": judgement}
    assert judge_scores(tmp_path) == {
        "a/b/judge_score": judgement.groups["all"].answer,
        "a/b/judge_reference": judgement.groups["all"].reference,
        "a/b/judge_wins": 0.5,
    }
    lines = list(judge_lines(tmp_path))
    assert lines[0].startswith("judge of a/b: 6.00 of 10 (95 % ")
    assert lines[0].endswith("2 of 3 questions in both orders")
    assert lines[-1] == "judge tiny, second place -1.25, 1 replies without two scores"


def test_mixed_audio_is_the_mean_of_its_two_groups_and_verdicts_are_deleted_with_their_answers(tmp_path):
    groups = ("speech and sound", "speech and music")
    questions = [
        OpenQuestion(str(number), "What?", "x", "y", group=group) for number, group in enumerate(groups)
    ]
    given = [
        Verdict(question.id, order, "tiny", "", Scores(5, 6 + number))
        for number, question in enumerate(questions)
        for order in ORDERS
    ]
    judgement = judgement_of(questions, given, endpoint="http://here/v1", sampling={})
    mixed = [line for line in judgement.lines("chat") if "mixed" in line]
    answers = [judgement.groups[group].answer for group in groups]
    assert mixed == [
        f"judge of chat, mixed: {sum(answers) / 2:.2f} of 10, mean of speech and sound and of speech and music"
    ]
    assert answers[0] != answers[1]
    folder = tmp_path / FOLDER
    write_judgement(folder, "chat", judgement, given)
    (folder / "replies.jsonl").write_text("{}\n")
    forget_judgement(folder, "chat")
    assert [path.name for path in folder.iterdir()] == ["replies.jsonl"]
    forget_judgement(folder, "chat")


def test_the_interval_is_that_of_the_mean_over_questions():
    rng = random.Random(0)
    questions = [OpenQuestion(str(number), "What?", "A dog.", "A cat.") for number in range(120)]
    pairs = {
        question.id: [(rng.randint(1, 10), rng.randint(1, 10)) for _ in ORDERS] for question in questions
    }
    replies = [
        Verdict(name, order, "tiny", "reply", Scores(*scores))
        for name, both in pairs.items()
        for order, scores in zip(ORDERS, both, strict=True)
    ]
    found = judgement_of(questions, replies, endpoint="http://here/v1", sampling={}).groups["all"]
    references, answers = ([(one[at] + other[at]) / 2 for one, other in pairs.values()] for at in (0, 1))
    low, high = stats.norm.interval(0.95, stats.tmean(answers), stats.sem(answers))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.08)
    assert found.wins == sum(a > b for a, b in zip(answers, references, strict=True)) / 120
    second = sum(one[1] - one[0] + other[0] - other[1] for one, other in pairs.values())
    assert found.place == pytest.approx(second / 240), "the reference is first in the first order"
