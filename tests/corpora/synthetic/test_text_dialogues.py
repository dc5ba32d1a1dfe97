import re

import pytest

from audio_lm.corpora.synthetic.split_random import SplitRandom
from audio_lm.corpora.synthetic.text_dialogues import EXERCISES, NUMBERS, OPPOSITES, text_conversation

VALUE = {word: number for number, word in enumerate(NUMBERS)}
OPPOSITE = {**dict(OPPOSITES), **{second: first for first, second in OPPOSITES}}


def solve(question):
    """Answer a question from its words alone."""
    words = re.findall(r"[a-z]+", question.lower())
    numbers = [VALUE[word] for word in words if word in VALUE]
    if re.match(r"(What is|How much is|Add) \w+ (plus|minus|and) ", question):
        return NUMBERS[numbers[0] - numbers[1] if "minus" in words else sum(numbers)]
    if question.startswith("Which is"):
        return NUMBERS[max(numbers) if "larger" in words else min(numbers)]
    if question.startswith("Which number"):
        return NUMBERS[numbers[0] + (1 if "after" in words else -1)]
    if "opposite" in words:
        return OPPOSITE[words[-1]]
    if question.startswith(("Repeat", "Say", "Write down")):
        return question.split(": ")[1]
    items = question.split("? ")[1].split() if "? " in question else []
    if question.startswith("How many words"):
        return NUMBERS[len(items)]
    return items[0] if "first" in question.split("?")[0] else items[-1]


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.__name__)
def test_an_exercise_has_the_right_answer(exercise):
    for number in range(60):
        question, answer = exercise(SplitRandom("train", exercise.__name__, number))
        if question.startswith("Audio: "):
            description = question.removeprefix("Audio: ").split(". ")[0].split(", ")
            assert answer in [part.split(" ", 1)[1] for part in description], question
        else:
            assert solve(question) == answer, question


def test_turns_alternate_and_have_text_only():
    for number in range(50):
        conversation = text_conversation(SplitRandom("train", number))
        assert [turn["role"] for turn in conversation] == ["user", "assistant"] * (len(conversation) // 2)
        assert all(list(part) == ["text"] for turn in conversation for part in turn["content"])
