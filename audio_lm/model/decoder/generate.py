"""Answers, word by word: the most likely token each time, for many conversations at once.

Packed prompts become rows padded on the left, so that all of them go on at the same place.
What the language model has read stays in its cache; rows that are done leave the batch.

Shapes: B conversations, L longest prompt, T positions of the pack, D width.
"""

import itertools
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import DynamicCache

from audio_lm.common.packed_batch import PackedBatch
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.decoder.language_model import unpacked


@torch.no_grad()
def greedy(
    model: AudioLM, pack: PackedBatch, *, end_ids: Collection[int], max_new_tokens: int
) -> list[list[int]]:
    """Answer the conversations of a pack.

    Args:
        pack: prompts without their answers; documents after the last cut id are padding and have no answer.
        end_ids: tokens that end an answer; they are not returned.

    Returns:
        Token ids of each answer, in the order of the pack.
    """
    answers: list[list[int]] = [[] for _ in range(len(pack))]
    pack = pack.to(model.new_tokens.input.device)
    with _resting(model):
        rows_BLD, is_read_BL = _padded_left(model.embed(pack), pack.cu_seq_lens.tolist()[: len(pack) + 1])
        with unpacked(model.language_model):
            _continue(model, rows_BLD, is_read_BL, answers, set(end_ids), max_new_tokens)
    return answers


def _continue(
    model: AudioLM,
    rows_BLD: Tensor,
    is_read_BL: Tensor,
    answers: list[list[int]],
    ends: set[int],
    max_new_tokens: int,
) -> None:
    cache = DynamicCache()
    positions_BL = (is_read_BL.cumsum(1) - 1).clamp(min=0)
    going = list(range(len(answers)))
    for _ in range(max_new_tokens if going else 0):
        states_BLD = model.language_model.base_model(
            inputs_embeds=rows_BLD,
            attention_mask=is_read_BL,
            position_ids=positions_BL,
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        next_B = model.logits(states_BLD[:, -1]).argmax(-1)
        kept = []
        for place, (row, token) in enumerate(zip(going, next_B.tolist(), strict=True)):
            if token not in ends:
                answers[row].append(token)
                kept.append(place)
        if not kept:
            return
        if len(kept) < len(going):
            chosen = torch.tensor(kept, device=next_B.device)
            cache.batch_select_indices(chosen)
            next_B, is_read_BL, positions_BL = next_B[chosen], is_read_BL[chosen], positions_BL[chosen]
            going = [going[place] for place in kept]
        rows_BLD = model.words(next_B[:, None])
        is_read_BL = torch.cat([is_read_BL, is_read_BL.new_ones(len(going), 1)], dim=1)
        positions_BL = positions_BL[:, -1:] + 1


def _padded_left(embedded_TD: Tensor, borders: list[int]) -> tuple[Tensor, Tensor]:
    """Rows (B, L, D) that end together, and which of their places hold something (B, L)."""
    lengths = [end - start for start, end in itertools.pairwise(borders)]
    longest = max(lengths, default=0)
    rows_BLD = embedded_TD.new_zeros(len(lengths), longest, embedded_TD.shape[1])
    is_read_BL = torch.zeros(len(lengths), longest, dtype=torch.long, device=embedded_TD.device)
    for row, (start, length) in enumerate(zip(borders, lengths, strict=False)):
        rows_BLD[row, longest - length :] = embedded_TD[start : start + length]
        is_read_BL[row, longest - length :] = 1
    return rows_BLD, is_read_BL


@contextmanager
def _resting(model: AudioLM) -> Iterator[None]:
    """Without dropout, and as before afterwards."""
    was_training = {module for module in model.modules() if module.training}
    model.eval()
    try:
        yield
    finally:
        for module in was_training:
            module.training = True
