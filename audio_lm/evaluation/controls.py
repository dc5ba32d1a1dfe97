"""Changed questions of the controls of a benchmark.

A model that keeps its score without the audio has not listened: models keep 60 to 72 % of some benchmarks.

Source: arXiv:2604.24401 for benchmarks without audio; arXiv:2510.04584 for the order of choices.
"""

import random
import re
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from audio_lm.evaluation.choice_lines import CHOICE, choice_lines, with_texts

LETTER = re.compile(r"(\s*\(?)([A-J])\)?\.?\s*")
QUESTION, ANSWER, CHOICES = "question", "answer", "choices"


def derangement(groups: Sequence[Hashable], seed: int) -> list[int | None]:
    """Another index of the same group for every index, each used once; None for the only one of its group.

    >>> sorted(derangement(["x", "x", "x"], 0)), derangement(["x", "y"], 0)
    ([0, 1, 2], [None, None])
    """
    members: dict[Hashable, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    partners: list[int | None] = [None] * len(groups)
    rng = random.Random(seed)
    for indices in members.values():
        if len(indices) > 1:
            rng.shuffle(indices)  # neighbours in a random circle: nobody is its own neighbour
            for index, partner in zip(indices, [*indices[1:], indices[0]], strict=True):
                partners[index] = partner
    return partners


def rotated_labels(labels: Mapping[str, Any]) -> dict[str, Any] | None:
    r"""Labels whose choices have moved up by one letter, the first to the end; None for a question without choices.

    >>> rotated_labels({"question": "Who?\nA. man\nB. woman\nC. child", "answer": "B. woman"})
    {'question': 'Who?\nA. woman\nB. child\nC. man', 'answer': 'A. woman'}
    """
    question = labels.get(QUESTION)
    lines = choice_lines(question) if isinstance(question, str) else []
    if not lines:
        return None
    assert isinstance(question, str), "it has choices"
    letters, texts = [line[2] for line in lines], [line[4] for line in lines]
    changed: dict[str, Any] = {QUESTION: with_texts(question, lines, [*texts[1:], texts[0]])}
    if isinstance(choices := labels.get(CHOICES), list) and len(choices) == len(texts):
        changed[CHOICES] = [*choices[1:], choices[0]]
    answer = labels.get(ANSWER)
    return changed if answer is None else {**changed, ANSWER: _rotated_answer(str(answer), letters)}


def _rotated_answer(answer: str, letters: Sequence[str]) -> str:
    """The same answer with its new letter; an answer in words alone stays."""
    match = CHOICE.fullmatch(answer) or LETTER.fullmatch(answer)
    if match is None or match[2] not in letters:
        return answer
    letter = letters[(letters.index(match[2]) - 1) % len(letters)]
    return f"{answer[: match.start(2)]}{letter}{answer[match.end(2) :]}"
