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


class AllowedTokens(Protocol):
    """Function that returns the tokens that may follow an unfinished answer."""

    def __call__(self, conversation: int, answer: list[int], /) -> list[int]: ...


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

    allowed: AllowedTokens | None = None
    """Restricts the tokens of each answer; None allows all."""


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
    model: AudioLM,
    pack: PackedBatch,
    *,
    end_ids: Collection[int],
    max_new_tokens: int,
    allowed: AllowedTokens | None = None,
) -> list[list[int]]:
    """Generate the most probable answer to each conversation of a pack.

    Args:
        pack: prompts without answers; documents after the last cut id are padding and get no answer.
        end_ids: tokens that end an answer; they are not returned.
        allowed: restricts the tokens of each answer; None allows all.

    Returns:
        Token ids of each answer, in the order of the pack.
    """
    options = GenerationOptions(end_ids, max_new_tokens, allowed=allowed)
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
    with decoding(model), eval_mode(model):
        batch = _AnswerBatch(model, pack, options, keys or pack.cut_ids)
        while batch.step() is not None:
            pass
    return batch.answers


def stream(
    model: AudioLM, pack: PackedBatch, options: GenerationOptions, *, keys: Sequence[str] | None = None
) -> Iterator[list[NewToken]]:
    """Generate as ``generate`` does, and yield the new tokens of each step.

    The model is in use only during a step, so other threads can use it between two. Tokens that the stop rule removes
    were yielded before.
    """
    batch: _AnswerBatch | None = None
    while True:
        with decoding(model), eval_mode(model):
            batch = batch or _AnswerBatch(model, pack, options, keys or pack.cut_ids)
            step = batch.step()
        if step is None:
            return
        yield step


class _AnswerBatch:
    """Answers in progress to the conversations of a pack."""

    def __init__(
        self, model: AudioLM, pack: PackedBatch, options: GenerationOptions, keys: Sequence[str]
    ) -> None:
        self.answers = [[GeneratedAnswer([]) for _ in range(options.num_answers)] for _ in range(len(pack))]
        self._model, self._options, self._keys = model, options, keys
        self._place = 0
        self._rows = DecodingRows(model)
        self._unfinished: list[tuple[int, int]] = []  # conversation and number of the answer, of each row
        if len(pack) and options.max_new_tokens:
            self._unfinished = list(itertools.product(range(len(pack)), range(options.num_answers)))
            pack = pack.to(model.new_tokens.input.device)
            borders = pack.cu_seq_lens.tolist()[: len(pack) + 1]
            states_BD = self._rows.append(*padded_left(model.embed(pack), borders))
            self._rows.repeat(options.num_answers)
            self._states_BD = states_BD.repeat_interleave(options.num_answers, 0)

    def step(self) -> list[NewToken] | None:
        """Generate one token of every unfinished answer; None where all are finished."""
        if not self._unfinished:
            return None
        next_B = self._next_tokens()
        new = [NewToken(*row, token) for row, token in zip(self._unfinished, next_B.tolist(), strict=True)]
        is_ended = [self._extend(token) for token in new]
        self._place += 1
        remaining = [row for row, ended in enumerate(is_ended) if not ended]
        if self._place == self._options.max_new_tokens:
            remaining = []
        if remaining and len(remaining) < len(new):
            index = torch.tensor(remaining, device=next_B.device)
            self._rows.select(index)
            next_B = next_B[index]
        self._unfinished = [self._unfinished[row] for row in remaining]
        if remaining:
            self._states_BD = self._rows.append_tokens(next_B)
        return [token for token in new if token.token_id not in self._options.end_ids]

    def _next_tokens(self) -> Tensor:
        """(B,) next token of every row."""
        logits_BV = self._model.logits(self._states_BD)
        constraint, allowed = self._options.constraint, self._options.allowed
        so_far = [self.answers[conversation][number].token_ids for conversation, number in self._unfinished]
        if constraint is not None:
            logits_BV = torch.stack([*map(constraint.constrain, logits_BV, so_far)])
        if allowed is not None:
            rows = zip(self._unfinished, so_far, strict=True)
            logits_BV = _restricted(logits_BV, [allowed(row, answer) for (row, _), answer in rows])
        keys: list[SampleKey] = [(self._keys[row], number, self._place) for row, number in self._unfinished]
        return choose_tokens(logits_BV, self._options.sampling, keys)

    def _extend(self, token: NewToken) -> bool:
        """Add a token to its answer; true if the answer is ended."""
        answer = self.answers[token.conversation][token.answer]
        if token.token_id in self._options.end_ids:
            answer.is_ended = True
            return True
        answer.token_ids.append(token.token_id)
        stop = self._options.stop
        end = None if stop is None else stop.end_of(answer.token_ids)
        if end is not None:
            del answer.token_ids[end:]
            answer.is_ended = True
        return answer.is_ended


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
