"""Wrong answers for preference pairs: a right answer with one fact changed."""

import re
from collections.abc import Sequence

from audio_lm.corpora.synthetic.questions import Question
from audio_lm.corpora.synthetic.split_random import SplitRandom

MIN_SHIFT, MAX_SHIFT = 0.3, 1.0  # seconds of shifted stamps
OTHER = "another answer"
_SECONDS = re.compile(r"\d+\.\d+")


def corruptions_of(
    question: Question | None, answer: str, options: Sequence[str], random: SplitRandom
) -> dict[str, str]:
    """All corruptions of an answer, by kind; each changes one fact.

    Args:
        question: about one clip; None for one about several.
        answer: the right one.
        options: all answers of the same question.
    """
    kind = "choice" if question is None else question.kind
    others = sorted(set(options) - {answer})
    found: dict[str, str] = {}
    if kind == "words":
        found = _of_words(answer.split(), others, random)
    elif kind == "list":
        found = _of_list(answer.split(", "), others, random)
    elif kind == "times":
        found = {"shifted stamps": _shifted(answer, random)}
    elif kind == "count":
        found = _of_count(answer, others, random)
    elif others:
        found = {OTHER if question is None else question.corruption: random.choice(others)}
    return {name: text for name, text in found.items() if text and text != answer}


def corrupt(
    question: Question | None, answer: str, options: Sequence[str], random: SplitRandom
) -> tuple[str, str] | None:
    """Draw a corruption: its kind, and the wrong answer; None if the answer has none."""
    found = corruptions_of(question, answer, options, random)
    return random.choice(sorted(found.items())) if found else None


def _of_words(words: Sequence[str], others: Sequence[str], random: SplitRandom) -> dict[str, str]:
    found = {}
    if len(words) > 1:
        place, at = random.integer(0, len(words) - 1), random.integer(0, len(words) - 2)
        found["dropped word"] = " ".join([*words[:place], *words[place + 1 :]])
        found["swapped order"] = " ".join([*words[:at], words[at + 1], words[at], *words[at + 2 :]])
    if unsaid := sorted({word for option in others for word in option.split()} - set(words)):
        place = random.integer(0, len(words) - 1)
        found["another word"] = " ".join([*words[:place], random.choice(unsaid), *words[place + 1 :]])
    return found


def _of_list(items: Sequence[str], others: Sequence[str], random: SplitRandom) -> dict[str, str]:
    found = {}
    if len(items) > 1:
        place = random.integer(0, len(items) - 1)
        found["missing sound"] = ", ".join([*items[:place], *items[place + 1 :]])
    if absent := sorted({item for option in others for item in option.split(", ")} - set(items)):
        place = random.integer(0, len(items))
        found["hallucinated sound"] = ", ".join([*items[:place], random.choice(absent), *items[place:]])
    return found


def _of_count(answer: str, others: Sequence[str], random: SplitRandom) -> dict[str, str]:
    """One more or one less if the answer is in figures, else another count."""
    if answer.isdigit():
        return {"wrong count": str(max(0, int(answer) + random.choice((-1, 1))))}
    return {"wrong count": random.choice(others)} if others else {}


def _shifted(answer: str, random: SplitRandom) -> str:
    """Answer with all its seconds later or, if they stay above zero, earlier."""
    seconds = [float(text) for text in _SECONDS.findall(answer)]
    shift = random.uniform(MIN_SHIFT, MAX_SHIFT)
    if min(seconds, default=0.0) >= shift + 0.01 and random.bernoulli(0.5):
        shift = -shift
    return _SECONDS.sub(lambda match: f"{float(match[0]) + shift:.2f}", answer)
