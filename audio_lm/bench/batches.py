"""Batches for timing a training step: the same conversations for our model and Hugging Face's."""

from dataclasses import dataclass

import numpy as np
import torch

from audio_lm.bench.clips import even_seconds
from audio_lm.bench.peer import PeerBatch, peer_batch
from audio_lm.common.audio_units import SAMPLES_PER_SECOND, Seconds, frames_in, tokens_in
from audio_lm.common.packed_batch import PackedBatch
from audio_lm.common.rng import random_for
from audio_lm.data.example import Example
from audio_lm.data.packs import pack_examples

PROMPT_TOKENS, SHORTEST_ANSWER, LONGEST_ANSWER = 28, 10, 60


@dataclass(frozen=True)
class Batch:
    """The same clips for both models."""

    pack: PackedBatch
    """Input of our model."""

    rows: list[PeerBatch]
    """Micro-batches of Hugging Face's model."""


def make_batches(count: int, clips: int, peer_clips: int, num_ids: int, device: torch.device) -> list[Batch]:
    """Create conversations of noise with random tokens before and after it; only the answer is learned.

    Args:
        count: number of batches.
        clips: clips of a batch, which is one pack of our model.
        peer_clips: clips of a micro-batch of Hugging Face's model.
        num_ids: vocabulary size; the last id is the audio token.
    """
    seconds = even_seconds(count * clips, "step").reshape(count, clips)
    batches = []
    for number, batch_seconds in enumerate(seconds):
        rng = random_for("bench", "step", number)
        pairs = [make_conversation(rng, length, num_ids) for length in batch_seconds]
        groups = [pairs[start : start + peer_clips] for start in range(0, clips, peer_clips)]
        rows = [peer_batch(*zip(*group, strict=True)) for group in groups]
        batches.append(Batch(pack_examples(*zip(*pairs, strict=True)).to(device), rows))
    return batches


def make_conversation(rng: np.random.Generator, seconds: Seconds, num_ids: int) -> tuple[Example, np.ndarray]:
    """Create a conversation about one clip of noise, and the clip."""
    wave = rng.normal(0, 0.1, int(seconds * SAMPLES_PER_SECOND)).astype(np.float32)
    num_tokens = tokens_in(frames_in(len(wave)))
    num_answer = int(rng.integers(SHORTEST_ANSWER, LONGEST_ANSWER + 1))
    words = rng.integers(0, num_ids - 1, PROMPT_TOKENS + num_answer).tolist()
    ids = [*words[:1], *[num_ids - 1] * num_tokens, *words[1:]]
    is_learned = [position >= len(ids) - num_answer for position in range(len(ids))]
    audio_positions = list(range(1, 1 + num_tokens))
    return Example("noise", "asr", 0, ids, is_learned, audio_positions, (len(wave),)), wave
