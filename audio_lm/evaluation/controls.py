"""Changed questions of the controls of a benchmark.

A model that keeps its score without the audio has not listened: models keep 60 to 72 % of some benchmarks.

Source: arXiv:2604.24401 for benchmarks without audio; arXiv:2510.04584 for the order of choices.
"""

import random
import re
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

CHOICE = re.compile(r"^(\s*\(?)([A-J])([.):] ?)(.+)$", re.MULTILINE)
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
    matches = [*CHOICE.finditer(question)] if isinstance(question, str) else []
    letters, texts = [match[2] for match in matches], [match[4] for match in matches]
    if len(matches) < 2 or letters != [chr(ord("A") + number) for number in range(len(letters))]:
        return None
    assert isinstance(question, str), "it has choices"
    rotated = iter([*texts[1:], texts[0]])
    changed: dict[str, Any] = {
        QUESTION: CHOICE.sub(lambda match: f"{match[1]}{match[2]}{match[3]}{next(rotated)}", question)
    }
    if isinstance(choices := labels.get(CHOICES), list) and len(choices) == len(texts):
        changed[CHOICES] = [*choices[1:], choices[0]]
    answer = labels.get(ANSWER)
    return changed if answer is None else {**changed, ANSWER: _rotated_answer(str(answer), letters, texts)}


def _rotated_answer(answer: str, letters: Sequence[str], texts: Sequence[str]) -> str:
    """The same answer with its new letter; an answer in words alone stays."""
    if match := CHOICE.fullmatch(answer):
        letter, rest = match[2], answer[match.end(2) :]
    elif answer.strip() in letters:
        letter, rest = answer.strip(), ""
    else:
        return answer
    index = (letters.index(letter) - 1) % len(letters) if letter in letters else None
    if index is None:
        return answer
    before = answer[: answer.index(letter)]
    return f"{before}{letters[index]}{rest}"
