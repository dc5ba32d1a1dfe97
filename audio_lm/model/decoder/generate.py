"""Batched greedy decoding.

Packed prompts become rows padded on the left, so that the next token of every row is at the same column. Keys and
values are cached; finished rows are removed from the batch.

Shapes: B conversations, L longest prompt, T positions of the pack, D width.
"""

import itertools
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor
from transformers import DynamicCache

from audio_lm.common.packed_batch import PackedBatch
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.decoder.language_model import use_padded_attention


class AllowedTokens(Protocol):
    """Function that returns the tokens that may follow an unfinished answer."""

    def __call__(self, conversation: int, answer: list[int], /) -> list[int]: ...


@torch.no_grad()
def greedy_decode(
    model: AudioLM,
    pack: PackedBatch,
    *,
    end_ids: Collection[int],
    max_new_tokens: int,
    allowed: AllowedTokens | None = None,
) -> list[list[int]]:
    """Generate an answer to each conversation of a pack.

    Args:
        pack: prompts without answers; documents after the last cut id are padding and get no answer.
        end_ids: tokens that end an answer; they are not returned.
        allowed: restricts the tokens of each answer; None allows all.

    Returns:
        Token ids of each answer, in the order of the pack.
    """
    answers: list[list[int]] = [[] for _ in range(len(pack))]
    pack = pack.to(model.new_tokens.input.device)
    with eval_mode(model):
        rows_BLD, mask_BL = padded_left(model.embed(pack), pack.cu_seq_lens.tolist()[: len(pack) + 1])
        with use_padded_attention(model.language_model):
            _decode(model, rows_BLD, mask_BL, answers, set(end_ids), max_new_tokens, allowed)
    return answers


def _decode(
    model: AudioLM,
    rows_BLD: Tensor,
    mask_BL: Tensor,
    answers: list[list[int]],
    ends: set[int],
    max_new_tokens: int,
    allowed: AllowedTokens | None,
) -> None:
    cache = DynamicCache()
    positions_BL = (mask_BL.cumsum(1) - 1).clamp(min=0)
    unfinished = list(range(len(answers)))
    for _ in range(max_new_tokens if unfinished else 0):
        states_BLD = model.language_model.base_model(
            inputs_embeds=rows_BLD,
            attention_mask=mask_BL,
            position_ids=positions_BL,
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        logits_BV = model.logits(states_BLD[:, -1])
        if allowed is not None:
            logits_BV = _restricted(logits_BV, [allowed(number, answers[number]) for number in unfinished])
        next_B = logits_BV.argmax(-1)
        remaining = []
        for row, (answer, token) in enumerate(zip(unfinished, next_B.tolist(), strict=True)):
            if token not in ends:
                answers[answer].append(token)
                remaining.append(row)
        if not remaining:
            return
        if len(remaining) < len(unfinished):
            index = torch.tensor(remaining, device=next_B.device)
            cache.batch_select_indices(index)
            next_B, mask_BL, positions_BL = next_B[index], mask_BL[index], positions_BL[index]
            unfinished = [unfinished[row] for row in remaining]
        rows_BLD = model.embed_tokens(next_B[:, None])
        mask_BL = torch.cat([mask_BL, mask_BL.new_ones(len(unfinished), 1)], dim=1)
        positions_BL = positions_BL[:, -1:] + 1


def _restricted(logits_BV: Tensor, allowed: list[list[int]]) -> Tensor:
    """Copy of the logits that is minus infinity for all other tokens."""
    restricted_BV = torch.full_like(logits_BV, float("-inf"))
    for row, tokens in enumerate(allowed):
        restricted_BV[row, tokens] = logits_BV[row, tokens]
    return restricted_BV


def padded_left(embedded_TD: Tensor, borders: list[int]) -> tuple[Tensor, Tensor]:
    """Rows (B, L, D) padded on the left, and their attention mask (B, L)."""
    lengths = [end - start for start, end in itertools.pairwise(borders)]
    longest = max(lengths, default=0)
    rows_BLD = embedded_TD.new_zeros(len(lengths), longest, embedded_TD.shape[1])
    mask_BL = torch.zeros(len(lengths), longest, dtype=torch.long, device=embedded_TD.device)
    for row, (start, length) in enumerate(zip(borders, lengths, strict=False)):
        rows_BLD[row, longest - length :] = embedded_TD[start : start + length]
        mask_BL[row, longest - length :] = 1
    return rows_BLD, mask_BL


@contextmanager
def eval_mode(model: AudioLM) -> Iterator[None]:
    """Put the model into eval mode inside the context; restore the mode of every module afterwards."""
    was_training = {module for module in model.modules() if module.training}
    model.eval()
    try:
        yield
    finally:
        for module in was_training:
            module.training = True
