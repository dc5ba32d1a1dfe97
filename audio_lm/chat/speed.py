"""Time of the last turn of a conversation, with kept keys and values and without, and a comparison of all tokens.

Two sessions hold the same conversation. One keeps its keys and values; the other forgets them before every turn, so it
processes all clips and turns again.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from audio_lm.bench.step import SMALL
from audio_lm.chat.conversation import ChatOptions
from audio_lm.chat.session import ChatSession
from audio_lm.common.audio_units import SAMPLES_PER_SECOND, Seconds
from audio_lm.common.rng import random_for
from audio_lm.model.build import build_model
from audio_lm.model.resolve_sizes import resolve_sizes
from audio_lm.prompts.tokenizer import train_tokenizer
from audio_lm.prompts.vocabulary import TEXT_TOKENS, Vocabulary
from audio_lm.run.load_model import LoadedModel, on_device

NUM_IDS = 32_000
MAX_POSITIONS = 4096  # four clips of 30 s and their questions
QUESTION = "What do you hear in this clip?"
LAST_QUESTION = "Which of the clips is the longest?"


@dataclass(frozen=True)
class TurnFigures:
    """Seconds of the last turn: CPU time on a CPU, time on a GPU; medians."""

    kept_s: Seconds
    restarted_s: Seconds
    ratio: float
    """Kept over restarted."""

    num_audios: int
    clip_s: Seconds
    """Length of each clip."""

    num_tokens: int
    """Positions of the conversation before the last answer."""

    num_new_tokens: int
    """Tokens of the last answer."""

    num_compared: int
    """Tokens of all answers, in all rounds."""

    num_different: int
    """Of them, those that differ between the two sessions."""


def bench_turns(
    loaded: LoadedModel,
    *,
    num_audios: int = 4,
    seconds: Seconds = 20.0,
    new_tokens: int = 24,
    rounds: int = 3,
) -> TurnFigures:
    """Measure the turn after as many turns with one clip each.

    Args:
        new_tokens: maximum length of every answer.
    """
    times: dict[bool, list[Seconds]] = {True: [], False: []}
    num_compared = num_different = num_tokens = num_new = 0
    for number in range(rounds + 1):
        answers: dict[bool, list[list[int]]] = {}
        for is_kept in (True, False):
            session = ChatSession(loaded, ChatOptions(max_new_tokens=new_tokens))
            answers[is_kept] = []
            for turn in range(num_audios + 1):
                if turn < num_audios:
                    rng = random_for("bench", "chat", number, turn)
                    wave = rng.normal(0, 0.1, round(seconds * SAMPLES_PER_SECOND)).astype("float32")
                    session.add_audio(wave)
                if not is_kept:
                    session.forget_cache()
                timed = _time_turn(session, QUESTION if turn < num_audios else LAST_QUESTION)
                answers[is_kept].append(session.answer_ids)
            times[is_kept].append(timed)
            num_new = len(session.answer_ids)
            num_tokens = session.num_tokens - num_new
        num_compared += sum(map(len, answers[True]))
        num_different += _num_different(answers[True], answers[False])
    # The first round warms up.
    kept, restarted = (statistics.median(times[is_kept][1:]) for is_kept in (True, False))
    return TurnFigures(
        kept_s=kept,
        restarted_s=restarted,
        ratio=kept / restarted,
        num_audios=num_audios,
        clip_s=seconds,
        num_tokens=num_tokens,
        num_new_tokens=num_new,
        num_compared=num_compared,
        num_different=num_different,
    )


def small_chat_model() -> LoadedModel:
    """Model with random weights, of the size that other figures of this project are measured with."""
    tokenizer = train_tokenizer([QUESTION, LAST_QUESTION] * 4, vocab_size=300)
    vocabulary = Vocabulary(tokenizer, num_base=NUM_IDS, tokens=TEXT_TOKENS)
    torch.manual_seed(0)
    language_model = replace(
        SMALL.language_model,
        settings={**SMALL.language_model.settings, "max_position_embeddings": MAX_POSITIONS},
    )
    config = resolve_sizes(replace(SMALL, language_model=language_model))
    model = build_model(config, num_base=NUM_IDS, num_new=len(vocabulary.new_tokens))
    return LoadedModel(
        "a small model with random weights",
        on_device(model),
        vocabulary,
        config,
        prompt="chatml",
        tasks=("chat",),
    )


def format_turns(figures: TurnFigures) -> list[str]:
    """Format the figures with the conditions of the measurement."""
    return [
        f"turn {figures.num_audios + 1} of a conversation with {figures.num_audios} clips of {figures.clip_s:g} s: "
        f"{100 * figures.ratio:.1f} % of starting over ({figures.kept_s:.3f} s of {figures.restarted_s:.3f} s)",
        f"  {figures.num_tokens} positions before the answer, {figures.num_new_tokens} new tokens",
        f"  greedy tokens of all turns: {figures.num_different} of {figures.num_compared} differ",
    ]


def _time_turn(session: ChatSession, text: str) -> Seconds:
    start = _now()
    for _ in session.send(text):
        pass
    return _now() - start


def _now() -> Seconds:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    # CPU time: other programs on the machine do not count.
    return time.process_time()


def _num_different(answers: Sequence[Sequence[int]], others: Sequence[Sequence[int]]) -> int:
    pairs = zip(answers, others, strict=True)
    return sum(
        abs(len(one) - len(other)) + sum(a != b for a, b in zip(one, other, strict=False))
        for one, other in pairs
    )
