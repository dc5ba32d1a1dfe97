"""Stateless interleaving of sources and shuffling of rows.

A position is an integer from 0 to the end of the stage. The source and row drawn there are a function of the
position, so every process can compute every position. There is no sampler state to save, and the order does not
depend on prefetching or on the number of ranks.

Shapes: P positions, S sources.
"""

import heapq
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from math import lcm
from typing import Any

import numpy as np

MAX_PERIOD = 1 << 17
"""Weights with a longer exact period are rounded to shares of this period; none is rounded to zero."""

NUM_ROUNDS = 4  # of the Feistel network; more rounds do not improve an order

Integers = np.ndarray[Any, np.dtype[np.int64]]
Words = np.ndarray[Any, np.dtype[np.uint64]]


def integer_shares(weights: Sequence[float]) -> list[int]:
    """Convert weights to integer numbers of positions per period.

    Decimal weights with a small common denominator are exact. Others are rounded by the largest-remainder
    method, and every positive weight keeps at least one position.

    Args:
        weights: not negative, at least one of them positive.

    >>> integer_shares([0.5, 0.3, 0.2]), integer_shares([1, 0, 2])
    ([5, 3, 2], [1, 0, 2])
    """
    exact = [Fraction(repr(float(weight))) for weight in weights]
    denominator = lcm(*(share.denominator for share in exact))
    whole = [int(share * denominator) for share in exact]
    divisor = int(np.gcd.reduce(np.array(whole, dtype=object)))
    whole = [share // divisor for share in whole]
    if sum(whole) <= MAX_PERIOD:
        return whole
    return _rounded(exact)


def _rounded(exact: Sequence[Fraction]) -> list[int]:
    drawn = [number for number, share in enumerate(exact) if share > 0]
    room = MAX_PERIOD - len(drawn)  # every source gets one position first
    quotas = {number: exact[number] / sum(exact) * room for number in drawn}
    whole = [int(quotas[number]) + 1 if number in quotas else 0 for number in range(len(exact))]
    by_remainder = sorted(drawn, key=lambda number: (int(quotas[number]) - quotas[number], number))
    for number in by_remainder[: MAX_PERIOD - sum(whole)]:
        whole[number] += 1
    return whole


class ProportionalInterleaver:
    """Interleave sources so that each is within one draw of its share at every position.

    The order of one period is computed once, and then repeats. Each draw of a source has a window of
    positions, and the draw with the earliest deadline is scheduled first.

    Args:
        shares: positions of each source in one period.
    """

    def __init__(self, shares: Sequence[int]) -> None:
        self.shares = np.array(shares, dtype=np.int64)
        self.period = int(self.shares.sum())
        self.source_of = _earliest_deadline_first(tuple(shares))
        self.draw_of = np.zeros(self.period, dtype=np.int64)
        for source in np.flatnonzero(self.shares):
            is_source = self.source_of == source
            self.draw_of[is_source] = np.arange(self.shares[source])

    def at(self, positions_P: Integers) -> tuple[Integers, Integers]:
        """Source at each position, and the number of its draws before."""
        periods_P, offsets_P = np.divmod(positions_P, self.period)
        sources_P = self.source_of[offsets_P]
        return sources_P, periods_P * self.shares[sources_P] + self.draw_of[offsets_P]

    def draws_before(self, position: int) -> Integers:
        """Number of draws of each source before a position."""
        periods, offset = divmod(position, self.period)
        draws_S = np.bincount(self.source_of[:offset], minlength=len(self.shares))
        return periods * self.shares + draws_S

    def position_of(self, source: int, draw: int) -> int:
        """Position of the ``draw``-th draw of a source, counted from 0."""
        periods, rest = divmod(draw, int(self.shares[source]))
        return periods * self.period + int(np.flatnonzero(self.source_of == source)[rest])


@lru_cache(maxsize=4)  # a plan, its expectation and its first window need the same period; at most 1 MB each
def _earliest_deadline_first(shares: tuple[int, ...]) -> Integers:
    """Order of one period: draw j of a source with share w has the window [floor(j/w), ceil((j+1)/w)).

    w is a fraction of the period here.

    Source: Baruah et al., "Proportionate progress", Algorithmica 15 (1996): such windows can always be
    kept, and a schedule that keeps them is always off by less than one draw.
    """
    period = sum(shares)
    first_draws = [(0, -(-period // share), source, 0) for source, share in enumerate(shares) if share]
    waiting = sorted(first_draws)  # (release, deadline, source, draw), not released yet
    ready: list[tuple[int, int, int]] = []
    order = np.empty(period, dtype=np.int64)
    for position in range(period):
        while waiting and waiting[0][0] <= position:
            _, deadline, source, draw = heapq.heappop(waiting)
            heapq.heappush(ready, (deadline, source, draw))
        _, source, draw = heapq.heappop(ready)
        order[position] = source
        following, share = draw + 1, shares[source]
        if following < share:
            deadline = -(-(following + 1) * period // share)
            heapq.heappush(waiting, (following * period // share, deadline, source, following))
    order.flags.writeable = False
    return order


def permute(numbers_P: Integers, sizes_P: Integers, keys_P: Words) -> Integers:
    """Map each number by a pseudo-random permutation of ``range(size)`` that its key selects.

    A Feistel network over the next power of four with cycle walking: applied again until the result is in range.
    It needs no table.

    Args:
        numbers_P: each in ``range(size)``.
    """
    half_P = _half_bits(sizes_P)
    mask_P = (np.uint64(1) << half_P) - np.uint64(1)
    found_P = numbers_P.astype(np.uint64)
    limit_P = sizes_P.astype(np.uint64)
    outside_P = np.arange(len(numbers_P))
    while len(outside_P):
        mapped = _feistel(found_P[outside_P], half_P[outside_P], mask_P[outside_P], keys_P[outside_P])
        found_P[outside_P] = mapped
        outside_P = outside_P[mapped >= limit_P[outside_P]]
    return found_P.astype(np.int64)


def _half_bits(sizes_P: Integers) -> Words:
    """Half of the smallest even number of bits that can represent every number below a size."""
    bits_P = np.ceil(np.log2(np.maximum(sizes_P, 2))).astype(np.uint64)
    return (bits_P + np.uint64(1)) // np.uint64(2)


def _feistel(numbers_P: Words, half_P: Words, mask_P: Words, keys_P: Words) -> Words:
    left_P, right_P = numbers_P >> half_P, numbers_P & mask_P
    for number in range(NUM_ROUNDS):
        hash_P = splitmix64(right_P ^ keys_P, np.uint64(number)) & mask_P
        left_P, right_P = right_P, left_P ^ hash_P
    return (left_P << half_P) | right_P


def splitmix64(values_P: Words, salt_P: Words | np.uint64) -> Words:
    """Hash a value and a salt to 64 bits with the finaliser of SplitMix64.

    Source: Steele et al., "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """
    with np.errstate(over="ignore"):
        word_P = values_P + (np.asarray(salt_P, dtype=np.uint64) + np.uint64(1)) * np.uint64(
            0x9E3779B97F4A7C15
        )
        word_P = (word_P ^ (word_P >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        word_P = (word_P ^ (word_P >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return word_P ^ (word_P >> np.uint64(31))
