"""Send questions to a judge, and keep every reply on disk at once, so that a second start sends the others only."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from audio_lm.common.answer_cache import Reply
from audio_lm.common.chat_endpoint import EndpointError, Message, Sampling
from audio_lm.common.errors import DataError, UserError
from audio_lm.evaluation.judge.prompts import ORDERS, Order, prompt_of, scores_in
from audio_lm.evaluation.judge.questions import OpenQuestion
from audio_lm.evaluation.judge.verdicts import Verdict

SAMPLING = Sampling(max_tokens=1024, temperature=0.0)
"""AIR-Bench's script has the same limit, and temperatures of 1 and 2 at random, so that its scores cannot be repeated."""

NUM_TRIES = 2  # of a reply without two scores; the second has another seed
NUM_FIRST = 10
"""Replies without a single pair of scores, after which the judge is given up."""

SHOWN = 60  # characters of a reply in a message


class AnswersChats(Protocol):
    """Client of a chat endpoint that may be used by several threads; see ``ChatEndpoint``."""

    def answer(self, messages: Sequence[Message], sampling: Sampling | None = None) -> Reply:
        """Answer of the model.

        Raises:
            EndpointError: there is none.
        """


class JudgeRequest(NamedTuple):
    """A question in one order."""

    question: OpenQuestion
    order: Order

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation to be answered."""
        return [{"role": "user", "content": prompt_of(self.question, self.order)}]


def requests_of(questions: Sequence[OpenQuestion]) -> list[JudgeRequest]:
    """All requests: each question in both orders."""
    return [JudgeRequest(question, order) for question in questions for order in ORDERS]


def judge_questions(
    endpoint: AnswersChats, questions: Sequence[OpenQuestion], *, num_parallel: int, place: str
) -> Iterator[Verdict]:
    """Yield the verdicts on all questions in both orders.

    Args:
        place: where replies are kept, for messages.

    Raises:
        UserError: the endpoint fails; says how many replies are kept.
        DataError: none of the first replies has two scores.
    """
    requests = requests_of(questions)
    num_done = num_scored = 0
    pool = ThreadPoolExecutor(num_parallel, thread_name_prefix="judge")
    try:
        waiting = [pool.submit(_verdict, endpoint, request) for request in requests]
        for future in waiting:
            verdict = _result(future, num_done, len(requests), place)
            num_done += 1
            num_scored += verdict.scores is not None
            if num_done >= min(NUM_FIRST, len(requests)) and not num_scored:
                raise DataError(
                    f"judge {verdict.judge!r} gave no two scores in {num_done} replies, such as {verdict.reply[:SHOWN]!r} -- "
                    f"expected a line such as '8 6' -- choose another judge; replies are kept in {place}"
                )
            yield verdict
    finally:
        pool.shutdown(cancel_futures=True)


def _result(future: Future[Verdict], num_done: int, total: int, place: str) -> Verdict:
    try:
        return future.result()
    except EndpointError as error:
        raise UserError(
            f"{error}; at least {num_done} of {total} replies are kept in {place}, and the same command continues from there"
        ) from error


def _verdict(endpoint: AnswersChats, request: JudgeRequest) -> Verdict:
    """Verdict on one request; a reply without two scores is tried again."""
    reply = Reply("", "")
    for number in range(NUM_TRIES):
        try:
            reply = endpoint.answer(request.messages, replace(SAMPLING, seed=number or None))
        except EndpointError as error:
            if error.fault != "empty":
                raise
            continue
        if scores := scores_in(reply.text, request.order):
            return Verdict(request.question.id, request.order, reply.model, reply.text, scores)
    return Verdict(request.question.id, request.order, reply.model, reply.text, None)
