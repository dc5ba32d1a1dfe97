"""Conversations without a clip: the text half of chat.

Small exercises whose answers follow by rule, and clips described in words instead
of heard, about which the same questions are asked as about clips.
"""

from collections.abc import Callable
from typing import Any

from audio_lm.common.languages import NAME_OF_LANGUAGE
from audio_lm.corpora.synthetic.events import EVENTS
from audio_lm.corpora.synthetic.notes import HIGHEST_PITCH, INSTRUMENTS, LOWEST_PITCH
from audio_lm.corpora.synthetic.questions import DIGITS, QUESTIONS
from audio_lm.corpora.synthetic.split_random import SplitRandom

NUMBERS = (
    *DIGITS,
    *("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen"),
)
OPPOSITES = (
    ("big", "small"),
    ("high", "low"),
    ("fast", "slow"),
    ("loud", "quiet"),
    ("up", "down"),
    ("left", "right"),
    ("hot", "cold"),
    ("open", "closed"),
    ("first", "last"),
    ("day", "night"),
    ("yes", "no"),
    ("old", "young"),
    ("happy", "sad"),
    ("bright", "dark"),
    ("early", "late"),
    ("good", "bad"),
)
WORDS = (*DIGITS, *(word for pair in OPPOSITES for word in pair))

Exercise = Callable[[SplitRandom], tuple[str, str]]


def text_conversation(chance: SplitRandom) -> list[dict[str, Any]]:
    """One or two turns of text; roles and contents as in the label ``conversation``."""
    exercises: list[Exercise] = [chance.choice((*EXERCISES, _described)) for _ in range(chance.integer(1, 2))]
    turns: list[dict[str, Any]] = []
    for exercise in exercises:
        question, answer = exercise(chance)
        turns.append({"role": "user", "content": [{"text": question}]})
        turns.append({"role": "assistant", "content": [{"text": answer}]})
    return turns


def _sum(chance: SplitRandom) -> tuple[str, str]:
    one, two = chance.integer(0, 9), chance.integer(0, 9)
    asked = chance.choice(("What is {} plus {}?", "Add {} and {}.", "How much is {} plus {}?"))
    return asked.format(NUMBERS[one], NUMBERS[two]), NUMBERS[one + two]


def _difference(chance: SplitRandom) -> tuple[str, str]:
    one = chance.integer(0, 9)
    two = chance.integer(0, one)
    asked = chance.choice(("What is {} minus {}?", "How much is {} minus {}?"))
    return asked.format(NUMBERS[one], NUMBERS[two]), NUMBERS[one - two]


def _larger(chance: SplitRandom) -> tuple[str, str]:
    one, two = chance.choose_distinct(range(len(DIGITS)), 2)
    asked, answer = chance.choice((("larger", max(one, two)), ("smaller", min(one, two))))
    return f"Which is {asked}, {DIGITS[one]} or {DIGITS[two]}?", DIGITS[answer]


def _opposite(chance: SplitRandom) -> tuple[str, str]:
    pair = chance.choice(OPPOSITES)
    asked, answer = pair if chance.bernoulli(0.5) else pair[::-1]
    words = chance.choice(
        ("What is the opposite of {}?", "Name the opposite of {}.", "Tell me the opposite of {}.")
    )
    return words.format(asked), answer


def _repeat(chance: SplitRandom) -> tuple[str, str]:
    words = " ".join(_some_words(chance))
    return chance.choice(("Repeat: {}", "Say: {}", "Write down: {}")).format(words), words


def _end_of_list(chance: SplitRandom) -> tuple[str, str]:
    words = _some_words(chance)
    asked, answer = chance.choice((("first", words[0]), ("last", words[-1])))
    return f"What is the {asked} word? {' '.join(words)}", answer


def _num_words(chance: SplitRandom) -> tuple[str, str]:
    words = _some_words(chance)
    return f"How many words are there? {' '.join(words)}", NUMBERS[len(words)]


def _next_number(chance: SplitRandom) -> tuple[str, str]:
    number = chance.integer(1, 9)
    asked, answer = chance.choice((("after", number + 1), ("before", number - 1)))
    return f"Which number comes {asked} {NUMBERS[number]}?", NUMBERS[answer]


def _described(chance: SplitRandom) -> tuple[str, str]:
    """A clip in words, and a question that may be asked about clips."""
    values = {
        "digits": " ".join(chance.choice(DIGITS) for _ in range(chance.integer(1, 5))),
        "gender": chance.choice(("male", "female")),
        "language": chance.choice(tuple(NAME_OF_LANGUAGE.values())),
        "instrument": chance.choice(tuple(INSTRUMENTS)),
        "pitch": str(chance.integer(LOWEST_PITCH, HIGHEST_PITCH)),
        "event": chance.choice(tuple(EVENTS)),
    }
    known = chance.choose_distinct(tuple(values), chance.integer(1, 3))
    asked = chance.choice(known)
    description = ", ".join(f"{name} {values[name]}" for name in known)
    question = next(question for question in QUESTIONS if question.name == asked)
    return f"Audio: {description}. {question.wordings.one(chance)}", values[asked]


def _some_words(chance: SplitRandom) -> list[str]:
    return [chance.choice(WORDS) for _ in range(chance.integer(2, 6))]


EXERCISES: tuple[Exercise, ...] = (
    _sum,
    _difference,
    _larger,
    _opposite,
    _repeat,
    _end_of_list,
    _num_words,
    _next_number,
    _described,
)
