"""Tiny model and packs of random clips and words, without any library of audio."""

from dataclasses import replace

import torch

from audio_lm.common.packed_batch import PackedBatch
from audio_lm.model.build import build_model
from audio_lm.model.config import LoraConfig
from tests.conftest import TINY

UPDATES = {"language_model": LoraConfig(rank=2)}


def pack_of(number):
    """A clip and some words; packs have different lengths."""
    generator = torch.Generator().manual_seed(number)
    length, num_learned = 22 + 3 * number, 5 + number
    return PackedBatch(
        token_ids=torch.randint(0, 60, (length,), generator=generator),
        position_ids=torch.arange(length),
        cu_seq_lens=torch.tensor([0, length], dtype=torch.int32),
        max_length=128,
        audio_index=torch.arange(2, 12),
        waves=torch.randn(6400, generator=generator) * 0.1,
        num_samples=(6400,),
        learned_index=torch.arange(length - num_learned - 1, length - 1),
        labels=torch.randint(0, 60, (num_learned,), generator=generator),
        task_index=torch.zeros(num_learned, dtype=torch.long),
        tasks=("asr",),
        cut_ids=(f"cut-{number}",),
    )


PACKS = [pack_of(number) for number in range(4)]


def tiny(kind):
    torch.manual_seed(0)
    return build_model(replace(TINY, lora=UPDATES if kind == "lora" else {}), num_base=50, num_new=10)
