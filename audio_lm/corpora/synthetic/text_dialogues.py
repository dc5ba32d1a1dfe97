"""Text-only conversations for the task chat.

Small exercises with answers by rule, and descriptions of clips with the questions that are used for clips.
"""

from collections.abc import Callable
from typing import Any

from audio_lm.common.languages import NAME_OF_LANGUAGE
from audio_lm.corpora.synthetic.events import EVENTS
from audio_lm.corpora.synthetic.notes import HIGHEST_PITCH, INSTRUMENTS, LOWEST_PITCH
from audio_lm.corpora.synthetic.questions import QUESTIONS
from audio_lm.corpora.synthetic.speech_sentences import DIGITS
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


def text_conversation(random: SplitRandom) -> list[dict[str, Any]]:
    """One or two exchanges of text, in the format of the label ``conversation``."""
    exercises: list[Exercise] = [
        random.choice((*EXERCISES, _described_clip)) for _ in range(random.integer(1, 2))
    ]
    turns: list[dict[str, Any]] = []
    for exercise in exercises:
        question, answer = exercise(random)
        turns.append({"role": "user", "content": [{"text": question}]})
        turns.append({"role": "assistant", "content": [{"text": answer}]})
    return turns


def _sum(random: SplitRandom) -> tuple[str, str]:
    first, second = random.integer(0, 9), random.integer(0, 9)
    wording = random.choice(("What is {} plus {}?", "Add {} and {}.", "How much is {} plus {}?"))
    return wording.format(NUMBERS[first], NUMBERS[second]), NUMBERS[first + second]


def _difference(random: SplitRandom) -> tuple[str, str]:
    first = random.integer(0, 9)
    second = random.integer(0, first)
    wording = random.choice(("What is {} minus {}?", "How much is {} minus {}?"))
    return wording.format(NUMBERS[first], NUMBERS[second]), NUMBERS[first - second]


def _larger(random: SplitRandom) -> tuple[str, str]:
    first, second = random.choose_distinct(range(len(DIGITS)), 2)
    adjective, answer = random.choice((("larger", max(first, second)), ("smaller", min(first, second))))
    return f"Which is {adjective}, {DIGITS[first]} or {DIGITS[second]}?", DIGITS[answer]


def _opposite(random: SplitRandom) -> tuple[str, str]:
    pair = random.choice(OPPOSITES)
    word, answer = pair if random.bernoulli(0.5) else pair[::-1]
    wording = random.choice(
        ("What is the opposite of {}?", "Name the opposite of {}.", "Tell me the opposite of {}.")
    )
    return wording.format(word), answer


def _repeat(random: SplitRandom) -> tuple[str, str]:
    words = " ".join(_some_words(random))
    return random.choice(("Repeat: {}", "Say: {}", "Write down: {}")).format(words), words


def _end_of_list(random: SplitRandom) -> tuple[str, str]:
    words = _some_words(random)
    position, answer = random.choice((("first", words[0]), ("last", words[-1])))
    return f"What is the {position} word? {' '.join(words)}", answer


def _num_words(random: SplitRandom) -> tuple[str, str]:
    words = _some_words(random)
    return f"How many words are there? {' '.join(words)}", NUMBERS[len(words)]


def _next_number(random: SplitRandom) -> tuple[str, str]:
    number = random.integer(1, 9)
    preposition, answer = random.choice((("after", number + 1), ("before", number - 1)))
    return f"Which number comes {preposition} {NUMBERS[number]}?", NUMBERS[answer]


def _described_clip(random: SplitRandom) -> tuple[str, str]:
    """Description of a clip, and a question about it."""
    values = {
        "digits": " ".join(random.choice(DIGITS) for _ in range(random.integer(1, 5))),
        "gender": random.choice(("male", "female")),
        "language": random.choice(tuple(NAME_OF_LANGUAGE.values())),
        "instrument": random.choice(tuple(INSTRUMENTS)),
        "pitch": str(random.integer(LOWEST_PITCH, HIGHEST_PITCH)),
        "event": random.choice(tuple(EVENTS)),
    }
    known = random.choose_distinct(tuple(values), random.integer(1, 3))
    requested = random.choice(known)
    description = ", ".join(f"{name} {values[name]}" for name in known)
    question = next(question for question in QUESTIONS if question.name == requested)
    return f"Audio: {description}. {question.wordings.choose(random)}", values[requested]


def _some_words(random: SplitRandom) -> list[str]:
    return [random.choice(WORDS) for _ in range(random.integer(2, 6))]


EXERCISES: tuple[Exercise, ...] = (
    _sum,
    _difference,
    _larger,
    _opposite,
    _repeat,
    _end_of_list,
    _num_words,
    _next_number,
    _described_clip,
)
