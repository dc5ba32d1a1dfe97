"""Time of closed answers: probabilities from one forward pass against generating, on the same prompts."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from audio_lm.common.audio_units import SAMPLES_PER_SECOND
from audio_lm.common.packed_batch import PackedBatch
from audio_lm.config.load import load_recipe
from audio_lm.data.example import Example
from audio_lm.data.packs import pack_examples
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.build import build_model
from audio_lm.model.decoder.closed import AnswerTree, allowed_tokens, score_answers
from audio_lm.model.decoder.generate import greedy_decode

NUM_IDS, END = 4000, 2
PROMPT_TOKENS = 12
SECONDS = (0.6, 1.4)  # range of the lengths of clips


@dataclass(frozen=True)
class ClosedFigures:
    """Figures of closed answers; process time, medians over the rounds."""

    milliseconds: float
    """One forward pass for all prompts of a pack of four."""

    times_faster: float
    """Than generating answers of the same length freely, for a pack of four prompts."""

    times_faster_than_constrained: float
    """Than greedy decoding among the allowed answers, for a pack of four."""

    times_faster_of_64: float
    """Than generating, for a pack of 64 prompts: on a CPU the audio and the prompts then take most of the time."""

    equal_share: float
    """Share of the prompts whose best answer is that of constrained greedy decoding."""


class Times(NamedTuple):
    """Process time of a pack, and the share of equal answers."""

    closed: float
    constrained: float
    free: float
    equal_share: float


def bench_closed(*, answers: int = 10, answer_tokens: int = 24, rounds: int = 5) -> ClosedFigures:
    """Measure a model of the size of the demo, with random weights, on clips of about a second.

    Args:
        answers: allowed answers, as the choices of a question in words.
        answer_tokens: tokens of each, its end included.
    """
    few, many = (_times(prompts, answers, answer_tokens, rounds) for prompts in (4, 64))
    return ClosedFigures(
        milliseconds=1000 * few.closed,
        times_faster=few.free / few.closed,
        times_faster_than_constrained=few.constrained / few.closed,
        times_faster_of_64=many.free / many.closed,
        equal_share=(4 * few.equal_share + 64 * many.equal_share) / 68,
    )


def _times(prompts: int, answers: int, answer_tokens: int, rounds: int) -> Times:
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    model = build_model(load_recipe("demo").recipe.model, num_base=NUM_IDS, num_new=8).train(False)
    pack = _pack(model, rng, prompts)
    trees = [_tree(rng, answers, answer_tokens)] * prompts
    allowed = allowed_tokens(trees, END)
    rows = []
    for _ in range(rounds + 1):  # the first loads what later ones have
        start = time.process_time()
        found = score_answers(model, pack, trees)
        scored = time.process_time()
        generated = greedy_decode(model, pack, end_ids={END}, max_new_tokens=answer_tokens, allowed=allowed)
        decoded = time.process_time()
        greedy_decode(model, pack, end_ids=(), max_new_tokens=answer_tokens)
        rows.append((scored - start, decoded - scored, time.process_time() - decoded))
    best = [list(tree.paths[one.best][:-1]) for tree, one in zip(trees, found, strict=True)]
    closed, constrained, free = np.median(np.array(rows[1:]), axis=0).tolist()
    is_equal = [mine == theirs for mine, theirs in zip(best, generated, strict=True)]
    return Times(closed, constrained, free, float(np.mean(is_equal)))


def _pack(model: AudioLM, rng: np.random.Generator, prompts: int) -> PackedBatch:
    lengths = [int(SAMPLES_PER_SECOND * seconds) for seconds in rng.uniform(*SECONDS, prompts)]
    examples = []
    for number, length in enumerate(lengths):
        num_audio = model.encoder.token_count.tokens_in(length)
        ids = [3] * num_audio + rng.integers(3, NUM_IDS, PROMPT_TOKENS).tolist()
        is_learned = [False] * len(ids)
        examples.append(Example(f"clip-{number}", "sec", 0, ids, is_learned, [*range(num_audio)], (length,)))
    waves = [rng.normal(0, 0.1, length).astype(np.float32) for length in lengths]
    return pack_examples(examples, waves)


def _tree(rng: np.random.Generator, answers: int, tokens: int) -> AnswerTree:
    """Answers that share their first token, as ``gender: ...`` does."""
    first: Sequence[int] = rng.integers(3, NUM_IDS, 1).tolist()
    paths = {(*first, *rng.integers(3, NUM_IDS, tokens - 2).tolist(), END) for _ in range(answers)}
    return AnswerTree(tuple(sorted(paths)))
