"""Pack the conversations of a window, either into full packs or into buckets of similar length.

Full packs suit a model that takes packed sequences without padding, as ours does. Buckets suit a model that pads
the conversations of a pack to a batch of equal length: their token budget includes the padding, which is small
because the lengths are similar.

Shapes: P positions of a window.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from audio_lm.common.errors import DataError, RecipeError
from audio_lm.data.mixture.interleave import Integers


@dataclass(frozen=True)
class PackingRules:
    """Size and packing of an optimizer step."""

    packs: int
    """Packs of a global step, distributed equally over the ranks."""

    max_tokens: int
    """Token budget of a pack: text, audio, and padding in buckets."""

    conversations: int | None = None
    """Conversations of a step; None fills the token budget."""

    packing: Literal["full", "buckets"] = "full"
    """Packing method."""

    def __post_init__(self) -> None:
        """Refuse steps that would leave a pack empty."""
        if self.conversations is not None and self.conversations < self.packs:
            raise RecipeError(
                f"global_batch={self.conversations} conversations cannot fill packs_per_step={self.packs} packs; "
                f"take fewer packs or more conversations"
            )


def pack_window(lengths_P: Integers, rules: PackingRules) -> list[list[int]]:
    """Pack the conversations of a window; the number of packs is a multiple of the packs of a step.

    Returns:
        Indices of the conversations of each pack, sorted.

    Raises:
        DataError: a conversation or a pack exceeds the token budget.
    """
    longest = int(lengths_P.max())
    if longest > rules.max_tokens:
        raise DataError(f"a conversation has {longest} tokens, over pack_tokens={rules.max_tokens}; raise it")
    order, sizes = (-lengths_P).argsort(kind="stable").tolist(), lengths_P.tolist()
    packs = _full(order, sizes, rules) if rules.packing == "full" else _buckets(order, sizes, rules)
    return [sorted(pack) for pack in packs]


def padding_fraction(lengths: Sequence[Sequence[int]]) -> float:
    """Share of padding tokens if every pack is padded to its longest conversation.

    >>> padding_fraction([[4, 2], [3, 3, 3]])
    0.11764705882352944
    """
    return 1 - sum(map(sum, lengths)) / sum(len(pack) * max(pack) for pack in lengths)


def _full(order: Sequence[int], sizes: Sequence[int], rules: PackingRules) -> list[list[int]]:
    """Assign conversations to packs, longest first, each to the pack with the fewest tokens.

    The number of packs is the smallest that keeps the budget, or follows from ``rules.conversations``.

    Args:
        order: indices, longest conversation first.
        sizes: tokens of each conversation.
    """
    if rules.conversations is None:
        steps = -(-sum(sizes) // (rules.packs * rules.max_tokens))
    else:
        steps = _steps_of(rules.conversations, order)
    while True:
        count = steps * rules.packs
        packs, fullest = _assign(count, order, sizes, is_even=rules.conversations is not None)
        if fullest > rules.max_tokens and rules.conversations is not None:
            packs, fullest = _assign(count, order, sizes, is_even=False)
            _check_budget(fullest, rules)
        if fullest <= rules.max_tokens:
            return packs
        steps += 1


def _assign(
    count: int, order: Sequence[int], sizes: Sequence[int], *, is_even: bool
) -> tuple[list[list[int]], int]:
    """Assign conversations to ``count`` packs; returns them and the tokens of the fullest one.

    Args:
        is_even: numbers of conversations differ by at most one between packs.
    """
    packs: list[list[int]] = [[] for _ in range(count)]
    heap = [(0, 0, number) for number in range(count)]  # round, tokens, pack
    for index in order:
        rounds, tokens, number = heap[0]
        packs[number].append(index)
        heapq.heapreplace(heap, (rounds + is_even, tokens + sizes[index], number))
    return packs, max(tokens for _, tokens, _ in heap)


def _buckets(order: Sequence[int], sizes: Sequence[int], rules: PackingRules) -> list[list[int]]:
    """Group neighbours in length.

    A bucket has as many conversations as the budget allows at the length of its longest one, or an equal share of
    ``rules.conversations``.
    """
    packs: list[list[int]] = []
    if rules.conversations is not None:
        count = _steps_of(rules.conversations, order) * rules.packs
        ends = [len(order) * number // count for number in range(count + 1)]
        packs = [list(order[first:end]) for first, end in pairwise(ends)]
        _check_budget(max(len(pack) * sizes[pack[0]] for pack in packs), rules)
        return packs
    first = 0
    while first < len(order):
        end = first + rules.max_tokens // sizes[order[first]]
        packs.append(list(order[first:end]))
        first = end
    while len(packs) % rules.packs:
        largest = max(packs, key=len)
        packs.append(largest[len(largest) // 2 :])
        del largest[len(largest) // 2 :]
    return packs


def _steps_of(conversations: int, order: Sequence[int]) -> int:
    return max(1, round(len(order) / conversations))


def _check_budget(fullest: int, rules: PackingRules) -> None:
    if fullest > rules.max_tokens:
        padded = " with their padding" if rules.packing == "buckets" else ""
        raise DataError(
            f"{rules.conversations} conversations per step make packs of {fullest} tokens{padded}, over "
            f"pack_tokens={rules.max_tokens}; raise it, take more packs, or fewer conversations"
        )
