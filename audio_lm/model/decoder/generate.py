"""Batched generation: greedy or sampled, one or several answers to each prompt, streamed.

Packed prompts become rows padded on the left, so that the next token of every row is at the same column. Keys and
values are cached; several answers to a prompt share its audio encoding and the processing of its tokens; finished rows
are removed from the batch.

Shapes: B answers in progress, L longest prompt, T positions of the pack, D width, V tokens.
"""

import itertools
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from audio_lm.common.packed_batch import PackedBatch
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.decoder.kv_cache import DecodingRows, decoding
from audio_lm.model.decoder.sampling import GREEDY, SampleKey, SamplingConfig, choose_tokens


class StopRule(Protocol):
    """Rule that ends an answer besides its end tokens, such as a stop string."""

    def end_of(self, token_ids: Sequence[int], /) -> int | None:
        """Number of tokens to keep if the answer ends here; None if it goes on."""


class TokenConstraint(Protocol):
    """Rule that forbids tokens, given the answer so far."""

    def constrain(self, logits_V: Tensor, token_ids: Sequence[int], /) -> Tensor:
        """Logits (V,), minus infinity for forbidden tokens; the argument is not modified."""


@dataclass(frozen=True)
class GenerationOptions:
    """Choice of tokens, and the end of an answer."""

    end_ids: Collection[int]
    """Tokens that end an answer; they are not returned."""

    max_new_tokens: int
    """Maximum length of an answer."""

    sampling: SamplingConfig = GREEDY
    """Choice of the next token."""

    num_answers: int = 1
    """Answers to each prompt; more than one need sampling to differ."""

    stop: StopRule | None = None
    """Further ends of an answer."""

    constraint: TokenConstraint | None = None
    """Forbidden tokens."""


@dataclass(slots=True)
class GeneratedAnswer:
    """One answer to a prompt."""

    token_ids: list[int]
    """Without the end token."""

    is_ended: bool = False
    """True if an end token or the stop rule ended it; false at the maximum length."""


class NewToken(NamedTuple):
    """A token of an answer in progress."""

    conversation: int  # in the order of the pack
    answer: int  # of ``num_answers``
    token_id: int


def greedy_decode(
    model: AudioLM, pack: PackedBatch, *, end_ids: Collection[int], max_new_tokens: int
) -> list[list[int]]:
    """Generate the most probable answer to each conversation of a pack.

    Args:
        pack: prompts without answers; documents after the last cut id are padding and get no answer.
        end_ids: tokens that end an answer; they are not returned.

    Returns:
        Token ids of each answer, in the order of the pack.
    """
    options = GenerationOptions(end_ids, max_new_tokens)
    return [answers[0].token_ids for answers in generate(model, pack, options)]


def generate(
    model: AudioLM, pack: PackedBatch, options: GenerationOptions, *, keys: Sequence[str] | None = None
) -> list[list[GeneratedAnswer]]:
    """Generate answers to each conversation of a pack.

    Args:
        pack: as of ``greedy_decode``.
        keys: key of each conversation for sampling, by default its cut id. Conversations with equal keys and prompts get
            equal answers.

    Returns:
        ``options.num_answers`` answers to each conversation, in the order of the pack.
    """
    answers = _empty_answers(pack, options)
    with decoding(model), _eval_mode(model):
        for _ in _decode(model, pack, options, keys or pack.cut_ids, answers):
            pass
    return answers


def stream(
    model: AudioLM, pack: PackedBatch, options: GenerationOptions, *, keys: Sequence[str] | None = None
) -> Iterator[list[NewToken]]:
    """Generate as ``generate`` does, and yield the new tokens of each step.

    The model is in use only during a step, so other threads can use it between two. Tokens that the stop rule removes
    were yielded before.
    """
    steps = _decode(model, pack, options, keys or pack.cut_ids, _empty_answers(pack, options))
    while True:
        with decoding(model), _eval_mode(model):
            step = next(steps, None)
        if step is None:
            return
        yield step


def _empty_answers(pack: PackedBatch, options: GenerationOptions) -> list[list[GeneratedAnswer]]:
    return [[GeneratedAnswer([]) for _ in range(options.num_answers)] for _ in range(len(pack))]


def _decode(
    model: AudioLM,
    pack: PackedBatch,
    options: GenerationOptions,
    keys: Sequence[str],
    answers: list[list[GeneratedAnswer]],
) -> Iterator[list[NewToken]]:
    """Steps of generation; each fills ``answers`` and yields its tokens."""
    if len(pack) == 0 or options.max_new_tokens == 0:
        return
    pack = pack.to(model.new_tokens.input.device)
    rows = DecodingRows(model)
    states_BD = rows.append(*_padded_left(model.embed(pack), pack.cu_seq_lens.tolist()[: len(pack) + 1]))
    rows.repeat(options.num_answers)
    states_BD = states_BD.repeat_interleave(options.num_answers, 0)
    unfinished = list(itertools.product(range(len(pack)), range(options.num_answers)))
    for place in range(options.max_new_tokens):
        logits_BV = model.logits(states_BD)
        if options.constraint is not None:
            so_far = [answers[conversation][number].token_ids for conversation, number in unfinished]
            constrained = map(options.constraint.constrain, logits_BV, so_far)
            logits_BV = torch.stack([*constrained])
        sample_keys: list[SampleKey] = [(keys[row], number, place) for row, number in unfinished]
        next_B = choose_tokens(logits_BV, options.sampling, sample_keys)
        step, remaining = list[NewToken](), list[int]()
        for row, ((conversation, number), token) in enumerate(zip(unfinished, next_B.tolist(), strict=True)):
            answer = answers[conversation][number]
            if token not in options.end_ids:
                step.append(NewToken(conversation, number, token))
            if not _extend(answer, token, options):
                remaining.append(row)
        yield step
        if not remaining or place + 1 == options.max_new_tokens:
            return
        if len(remaining) < len(unfinished):
            index = torch.tensor(remaining, device=next_B.device)
            rows.select(index)
            next_B, unfinished = next_B[index], [unfinished[row] for row in remaining]
        states_BD = rows.append_tokens(next_B)


def _extend(answer: GeneratedAnswer, token: int, options: GenerationOptions) -> bool:
    """Add a token to an answer; true if the answer is ended."""
    if token in options.end_ids:
        answer.is_ended = True
        return True
    answer.token_ids.append(token)
    end = None if options.stop is None else options.stop.end_of(answer.token_ids)
    if end is not None:
        del answer.token_ids[end:]
        answer.is_ended = True
    return answer.is_ended


def _padded_left(embedded_TD: Tensor, borders: list[int]) -> tuple[Tensor, Tensor]:
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
def _eval_mode(model: AudioLM) -> Iterator[None]:
    """Put the model into eval mode inside the context; restore the mode of every module afterwards."""
    was_training = {module for module in model.modules() if module.training}
    model.eval()
    try:
        yield
    finally:
        for module in was_training:
            module.training = True
