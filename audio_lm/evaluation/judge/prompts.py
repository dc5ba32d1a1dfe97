"""Prompts of a judge, and the two scores in its reply.

The judge sees the reference and the answer as those of two assistants, in both orders, because judges prefer a place.

Source: score_chat.py of OFA-Sys/AIR-Bench at 1b5bd7f (arXiv:2402.07729).
"""

import re
from typing import Literal, NamedTuple

from audio_lm.evaluation.judge.questions import OpenQuestion

Order = Literal["reference_first", "answer_first"]
ORDERS: tuple[Order, Order] = ("reference_first", "answer_first")
LOWEST, HIGHEST = 1, 10

AIR_BENCH = (
    "You are a helpful and precise assistant for checking the quality of the answer.\n"
    "[Detailed Audio Description]\n{description}\n[Question]\n{question}\n"
    "[The Start of Assistant 1s Answer]\n{first}\n[The End of Assistant 1s Answer]\n"
    "[The Start of Assistant 2s Answer]\n{second}\n[The End of Assistant 2s Answer]\n[System]\n"
    "We would like to request your feedback on the performance of two AI assistants in response to the user question "
    "and audio description displayed above. AI assistants are provided with detailed audio descriptions and questions.\n"
    "Please rate the helpfulness, relevance, accuracy, and comprehensiveness of their responses. "
    "Each assistant receives an overall score on a scale of 1 to 10, where a higher score indicates better overall "
    "performance. Please output a single line containing only two values indicating the scores for Assistant 1 and 2, "
    "respectively. The two scores are separated by a space."
)
"""Prompt of AIR-Bench's chat part."""

WITHOUT_DESCRIPTION = (
    AIR_BENCH.replace("[Detailed Audio Description]\n{description}\n", "")
    .replace(" and audio description", "")
    .replace(
        "AI assistants are provided with detailed audio descriptions and questions",
        "It is about an audio clip",
    )
)
"""The same without a description of the clip; ours."""

TEMPLATES = {"air_bench": AIR_BENCH, "open": WITHOUT_DESCRIPTION}
_TWO_NUMBERS = re.compile(r"\s*(\d+(?:\.\d+)?)(?:\s*[,/;]\s*|\s+)(\d+(?:\.\d+)?)\s*\.?\s*")


class Scores(NamedTuple):
    """Scores of one reply, from 1 to 10."""

    reference: float
    answer: float


def template_of(question: OpenQuestion) -> str:
    """Name of the prompt of a question."""
    return "air_bench" if question.description else "open"


def prompt_of(question: OpenQuestion, order: Order) -> str:
    """Prompt of a question in one of the orders."""
    answers = (question.reference, question.answer)
    first, second = answers if order == "reference_first" else answers[::-1]
    return TEMPLATES[template_of(question)].format(
        description=question.description, question=question.question, first=first, second=second
    )


def scores_in(reply: str, order: Order) -> Scores | None:
    """The two scores in a reply: its first line with two numbers from 1 to 10 and nothing else; None without one.

    >>> scores_in("8 6.5", "reference_first"), scores_in("8 6.5", "answer_first")
    (Scores(reference=8.0, answer=6.5), Scores(reference=6.5, answer=8.0))
    >>> scores_in("Assistant 1 is better than 2.", "reference_first")
    """
    for line in reply.splitlines():
        if match := _TWO_NUMBERS.fullmatch(line):
            first, second = map(float, match.groups())
            if not LOWEST <= min(first, second) <= max(first, second) <= HIGHEST:
                return None
            return Scores(first, second) if order == "reference_first" else Scores(second, first)
    return None
