"""The conversations a step is timed on: the mix of lengths, the same for both sides."""

from dataclasses import dataclass

import numpy as np
import torch

from audio_lm.bench.clips import even_seconds
from audio_lm.bench.peer import PeerBatch, peer_batch
from audio_lm.common.audio_units import SAMPLES_PER_SECOND, Seconds, frames_in, tokens_in
from audio_lm.common.packed_batch import PackedBatch
from audio_lm.common.rng import random_for
from audio_lm.data.collate import pack_examples
from audio_lm.data.examples import Example

PROMPT_TOKENS, SHORTEST_ANSWER, LONGEST_ANSWER = 28, 10, 60


@dataclass(frozen=True)
class Batch:
    """The same clips for both."""

    pack: PackedBatch
    rows: list[PeerBatch]


def batches_of(count: int, clips: int, peer_clips: int, num_ids: int, device: torch.device) -> list[Batch]:
    """Noise of the mix's lengths, random words before and after; the answer alone is learned.

    Args:
        count: of batches.
        clips: in each, one pack of ours.
        peer_clips: in a row of theirs.
        num_ids: rows of the vocabulary; the last stands in the audio places.
    """
    seconds = even_seconds(count * clips, "step").reshape(count, clips)
    batches = []
    for number, of_batch in enumerate(seconds):
        rng = random_for("bench", "step", number)
        pairs = [_conversation(rng, length, num_ids) for length in of_batch]
        groups = [pairs[start : start + peer_clips] for start in range(0, clips, peer_clips)]
        rows = [peer_batch(*zip(*group, strict=True)) for group in groups]
        batches.append(Batch(pack_examples(*zip(*pairs, strict=True)).to(device), rows))
    return batches


def _conversation(rng: np.random.Generator, seconds: Seconds, num_ids: int) -> tuple[Example, np.ndarray]:
    wave = rng.normal(0, 0.1, int(seconds * SAMPLES_PER_SECOND)).astype(np.float32)
    num_tokens = tokens_in(frames_in(len(wave)))
    num_answer = int(rng.integers(SHORTEST_ANSWER, LONGEST_ANSWER + 1))
    words = rng.integers(0, num_ids - 1, PROMPT_TOKENS + num_answer).tolist()
    ids = [*words[:1], *[num_ids - 1] * num_tokens, *words[1:]]
    is_learned = [place >= len(ids) - num_answer for place in range(len(ids))]
    places = list(range(1, 1 + num_tokens))
    return Example("noise", "asr", 0, ids, is_learned, places, (len(wave),)), wave
