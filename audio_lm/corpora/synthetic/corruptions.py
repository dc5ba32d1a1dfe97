"""Wrong answers for preference pairs: a right answer with one fact changed."""

from collections.abc import Sequence

from audio_lm.corpora.synthetic.split_random import SplitRandom

LISTS = frozenset({"digits", "text", "command_words"})  # questions whose answer is a list of words
KIND_OF_QUESTION = {
    "num_digits": "wrong count",
    "gender": "another speaker",
    "event": "hallucinated sound",
    "instrument": "hallucinated sound",
    "nature": "hallucinated sound",
    "language": "another language",
    "command": "another word",
    "pitch": "another pitch",
}


def corruptions_of(about: str, answer: str, options: Sequence[str], random: SplitRandom) -> dict[str, str]:
    """All corruptions of an answer, by kind; each changes one fact.

    Args:
        about: name of the question; empty for one about several clips.
        answer: the right one.
        options: other answers of the same question.

    >>> sorted(corruptions_of("digits", "one two", ["one two", "three"], SplitRandom("train", 0)))
    ['another word', 'dropped word', 'swapped order']
    """
    found: dict[str, str] = {}
    words = answer.split()
    if about in LISTS:
        if len(words) > 1:
            place = random.integer(0, len(words) - 1)
            found["dropped word"] = " ".join([*words[:place], *words[place + 1 :]])
            at = random.integer(0, len(words) - 2)
            found["swapped order"] = " ".join([*words[:at], words[at + 1], words[at], *words[at + 2 :]])
        others = sorted({word for option in options for word in option.split()} - set(words))
        if others:
            place = random.integer(0, len(words) - 1)
            found["another word"] = " ".join([*words[:place], random.choice(others), *words[place + 1 :]])
    elif others := sorted(set(options) - {answer}):
        found[KIND_OF_QUESTION.get(about, "another answer")] = random.choice(others)
    return {kind: text for kind, text in found.items() if text != answer}


def corrupt(about: str, answer: str, options: Sequence[str], random: SplitRandom) -> tuple[str, str] | None:
    """Draw a corruption: its kind, and the wrong answer; None if the answer has none."""
    found = corruptions_of(about, answer, options, random)
    return random.choice(sorted(found.items())) if found else None
