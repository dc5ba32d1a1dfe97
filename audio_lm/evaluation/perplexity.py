"""Perplexity of answers that are given."""

import math
from collections.abc import Iterable

import torch

from audio_lm.common.packed_batch import PackedBatch
from audio_lm.model.audio_lm import AudioLM


@torch.no_grad()
def perplexity(model: AudioLM, packs: Iterable[PackedBatch]) -> float:
    """Exponential of the mean cross-entropy of the learned tokens; NaN without any."""
    total, num_tokens = 0.0, 0
    was_training = [module for module in model.modules() if module.training]
    model.eval()
    device = model.new_tokens.input.device
    for pack in packs:
        total += float(model.loss(pack.to(device)).losses.double().sum())
        num_tokens += pack.num_learned
    for module in was_training:
        module.training = True
    return math.exp(total / num_tokens) if num_tokens else math.nan
