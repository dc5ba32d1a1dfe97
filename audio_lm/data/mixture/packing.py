"""Which conversations of a window meet in a pack: so that packs are full, or so that their conversations are alike.

Full packs waste nothing where the model takes conversations end to end, as ours
does. Buckets are for whoever pads the conversations of a pack to rows of equal
length: their budget counts the padding too, and rows are so much alike that there
is little of it.

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
    """What a step is."""

    packs: int
    """Packs of a global step, shared equally by the ranks."""

    max_tokens: int
    """Of a pack, text and audio; in buckets padding too."""

    conversations: int | None = None
    """Of a step; none fills the budget."""

    packing: Literal["full", "buckets"] = "full"
    """What decides which conversations meet in a pack."""

    def __post_init__(self) -> None:
        """Refuse steps that would leave a pack empty."""
        if self.conversations is not None and self.conversations < self.packs:
            raise RecipeError(
                f"global_batch={self.conversations} conversations cannot be shared by packs_per_step={self.packs}; "
                f"take fewer packs or more conversations"
            )


def pack_window(lengths_P: Integers, rules: PackingRules) -> list[list[int]]:
    """The conversations of a window as packs, whose number is a multiple of those of a step.

    Returns:
        The places in the window of each pack, in order.

    Raises:
        DataError: they do not fit.
    """
    longest = int(lengths_P.max())
    if longest > rules.max_tokens:
        raise DataError(f"a conversation has {longest} tokens, over pack_tokens={rules.max_tokens}; raise it")
    order, sizes = (-lengths_P).argsort(kind="stable").tolist(), lengths_P.tolist()
    packs = _full(order, sizes, rules) if rules.packing == "full" else _buckets(order, sizes, rules)
    return [sorted(pack) for pack in packs]


def padding_fraction(lengths: Sequence[Sequence[int]]) -> float:
    """Share of padding where every pack becomes rows as long as its longest conversation.

    >>> padding_fraction([[4, 2], [3, 3, 3]])
    0.11764705882352944
    """
    return 1 - sum(map(sum, lengths)) / sum(len(pack) * max(pack) for pack in lengths)


def _full(order: Sequence[int], sizes: Sequence[int], rules: PackingRules) -> list[list[int]]:
    """Dealt longest first, each to the emptiest pack; packs are as few as the budget allows, or as many as are asked for.

    Args:
        order: places, longest first.
        sizes: tokens of each place.
    """
    if rules.conversations is None:
        steps = -(-sum(sizes) // (rules.packs * rules.max_tokens))
    else:
        steps = _steps_of(rules.conversations, order)
    while True:
        count = steps * rules.packs
        packs, fullest = _dealt_to(count, order, sizes, is_even=rules.conversations is not None)
        if fullest > rules.max_tokens and rules.conversations is not None:
            packs, fullest = _dealt_to(count, order, sizes, is_even=False)
            _check_budget(fullest, rules)
        if fullest <= rules.max_tokens:
            return packs
        steps += 1


def _dealt_to(
    count: int, order: Sequence[int], sizes: Sequence[int], *, is_even: bool
) -> tuple[list[list[int]], int]:
    """Deal to so many packs.

    Args:
        is_even: no pack gets its next conversation before all have had one.
    """
    packs: list[list[int]] = [[] for _ in range(count)]
    heap = [(0, 0, number) for number in range(count)]  # rounds had, tokens, pack
    for place in order:
        rounds, tokens, number = heap[0]
        packs[number].append(place)
        heapq.heapreplace(heap, (rounds + is_even, tokens + sizes[place], number))
    return packs, max(tokens for _, tokens, _ in heap)


def _buckets(order: Sequence[int], sizes: Sequence[int], rules: PackingRules) -> list[list[int]]:
    """Neighbours in length: as many as the budget holds when all are as long as the longest, or as are asked for."""
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
        most = max(packs, key=len)
        packs.append(most[len(most) // 2 :])
        del most[len(most) // 2 :]
    return packs


def _steps_of(conversations: int, order: Sequence[int]) -> int:
    return max(1, round(len(order) / conversations))


def _check_budget(fullest: int, rules: PackingRules) -> None:
    if fullest > rules.max_tokens:
        padded = " with their padding" if rules.packing == "buckets" else ""
        raise DataError(
            f"{rules.conversations} conversations a step make packs of {fullest} tokens{padded}, over "
            f"pack_tokens={rules.max_tokens}; raise it, take more packs, or fewer conversations"
        )
