"""The order of a stage as a pure function of its seed and a position.

Positions are cut into windows of equal length. The conversations of a window are
put into packs, none of them over its budget (``dealing``); packs stand in an order of
their own, and a global step is the next so many of them. Ranks take their slice of a
step, so the order is the same for every number of ranks.

Nothing is carried along but a ``Cursor``. Whoever knows it knows everything
that follows, at once.

Shapes: P positions of a window, L leaves.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from audio_lm.common.runtime import key_of
from audio_lm.data.config import MixtureConfig
from audio_lm.data.mixture.interleave import (
    Integers,
    ProportionalInterleaver,
    integer_shares,
    permute,
    splitmix64,
)
from audio_lm.data.mixture.packing import PackingRules, pack_window, padding_fraction
from audio_lm.data.mixture.weights import MixtureSource, clip_shares, max_examples, piecewise_weights

VERSION = 1  # raised whenever the same settings give another order
TEMPLATES = "templates of "
WINDOW_STEPS = 64
"""Steps of a window: what does not fill the last one of a window is about half a step of so many."""

EXPECTED_FILL = {"full": 0.99, "buckets": 0.97}
"""Of the token budget, by way of packing; measured with 8 packs of 8192 tokens."""


class ScheduledExample(NamedTuple):
    """What is heard at a position."""

    position: int
    source: int  # its number in the schedule
    row: int
    choice: int  # of the paraphrase
    num_tokens: int  # as measured


Packing = list[list[ScheduledExample]]  # the packs of a step


class Cursor(NamedTuple):
    """Where in the order a step stands: plain integers, all that has to be remembered."""

    step: int = 0
    window: int = 0
    place: int = 0
    """Of the step in its window."""


class Lengths(Protocol):
    """How many tokens the rows of a leaf have."""

    num_choices: int

    def of(self, rows_P: Integers, choices_P: Integers) -> Integers:
        """Tokens of rows under paraphrases."""
        ...


@dataclass(frozen=True)
class Segment:
    """From a position on, who has which share."""

    position: int
    shares: tuple[int, ...]
    draws: tuple[int, ...]
    """How often each leaf was heard before."""


class SegmentStart(NamedTuple):
    """From where segments are to be made: nothing was heard, or a stage is under way."""

    step: int = 0
    position: int = 0
    draws: tuple[int, ...] = ()
    """How often each leaf was heard before; none for never."""


STAGE_START = SegmentStart()


def segments_of(
    config: MixtureConfig,
    leaves: Sequence[MixtureSource],
    rules: PackingRules,
    *,
    steps: int,
    begin: SegmentStart = STAGE_START,
) -> tuple[list[Segment], int]:
    """The segments of a stage from its beginning or a later one, and how many positions it is expected to hear.

    A segment begins where a schedule changes a weight, and where a source reaches its cap.

    Steps of a schedule are turned into positions by the planned number of
    conversations per step, which is exact where a recipe gives it.

    Raises:
        RecipeError: every source reaches its cap before the stage ends.
    """
    caps = [max_examples(config, leaf) for leaf in leaves]
    found: list[Segment] = []
    position, draws = begin.position, list(begin.draws or [0] * len(leaves))
    closed = {leaf for leaf, cap in enumerate(caps) if cap is not None and draws[leaf] >= cap}
    for (first, weights), end in _with_ends(piecewise_weights(config, steps=steps), steps):
        step = max(first, begin.step)
        while step < end:
            shares = clip_shares(config, leaves, weights=weights, closed=closed)
            rota = ProportionalInterleaver(integer_shares(shares))
            found.append(Segment(position, tuple(rota.shares.tolist()), tuple(draws)))
            per_step = conversations_per_step(shares, leaves, rules)
            ends_at = position + max(1, round((end - step) * per_step))
            closing = _first_closed(rota, caps, draws, position, ends_at, closed)
            if closing is not None:
                ends_at = closing[0]
                closed.add(closing[1])
                step = min(end, step + (ends_at - position) / per_step)
            else:
                step = end
            draws = (np.array(draws) + rota.draws_before(ends_at - position)).tolist()
            position = ends_at
            if closing is not None and step >= end:
                break
    return found, position


def _with_ends(
    piecewise_weights: Sequence[tuple[int, Any]], steps: int
) -> Iterator[tuple[tuple[float, Any], int]]:
    ends = [step for step, _ in piecewise_weights[1:]] + [steps]
    yield from zip(piecewise_weights, ends, strict=True)


def _first_closed(
    rota: ProportionalInterleaver,
    caps: Sequence[int | None],
    draws: Sequence[int],
    position: int,
    ends_at: int,
    closed: set[int],
) -> tuple[int, int] | None:
    """The position behind the last turn of the leaf that reaches its cap first."""
    reached = [
        (position + rota.position_of(leaf, max(0, cap - draws[leaf] - 1)) + 1, leaf)
        for leaf, cap in enumerate(caps)
        if cap is not None and leaf not in closed and rota.shares[leaf] > 0
    ]
    first = min(reached, default=(ends_at + 1, -1))
    return first if first[0] < ends_at else None


def expected_examples(segments: Sequence[Segment], num_positions: int) -> list[int]:
    """How often every leaf is heard before a position (L)."""
    last = [segment for segment in segments if segment.position <= num_positions][-1]
    more = ProportionalInterleaver(last.shares).draws_before(num_positions - last.position)
    return [before + int(count) for before, count in zip(last.draws, more, strict=True)]


def conversations_per_step(
    shares: Sequence[float], leaves: Sequence[MixtureSource], rules: PackingRules
) -> float:
    """As many as are given, or as many as the budget is expected to hold."""
    if rules.conversations is not None:
        return float(rules.conversations)
    mean = sum(share * leaf.mean_tokens for share, leaf in zip(shares, leaves, strict=True))
    return rules.packs * rules.max_tokens * EXPECTED_FILL[rules.packing] / mean


class PackSchedule:
    """What every step of a stage hears.

    Args:
        names: of the leaves; they key their orders, so that a leaf keeps its order when others come.
        sizes: rows of the leaves.
        window: positions of a window.
    """

    def __init__(
        self,
        names: Sequence[str],
        sizes: Sequence[int],
        lengths: Sequence[Lengths],
        segments: Sequence[Segment],
        rules: PackingRules,
        *,
        window: int,
        seed: int,
    ) -> None:
        self.sizes = np.array(sizes, dtype=np.int64)
        self.lengths = lengths
        self.segments = list(segments)
        self.rules = rules
        self.window = window
        self.seed = seed
        self._rotas: dict[int, ProportionalInterleaver] = {}
        self._begins = [segment.position for segment in segments]
        self._keys = np.array([key_of(seed, "order", name) for name in names], dtype=np.uint64)
        self._choice_key = np.uint64(key_of(seed, "paraphrase"))
        self._num_choices = np.array([of_leaf.num_choices for of_leaf in lengths], dtype=np.uint64)

    def draws(self, first: int, count: int) -> tuple[Integers, Integers, Integers]:
        """Leaf, row and paraphrase at each of some positions (P)."""
        leaves_P, draws_P = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
        position, end = first, first + count
        while position < end:
            number = bisect_right(self._begins, position) - 1
            until = min(end, self._begins[number + 1] if number + 1 < len(self._begins) else end)
            segment, part = self.segments[number], slice(position - first, until - first)
            positions = np.arange(position, until) - segment.position
            leaves_P[part], turns = self._rota(number).at(positions)
            draws_P[part] = turns + np.array(segment.draws)[leaves_P[part]]
            position = until
        sizes_P = self.sizes[leaves_P]
        passes_P, numbers_P = np.divmod(draws_P, sizes_P)
        rows_P = permute(numbers_P, sizes_P, splitmix64(self._keys[leaves_P], passes_P.astype(np.uint64)))
        words_P = splitmix64(np.arange(first, end, dtype=np.uint64), self._choice_key)
        choices_P = (words_P % self._num_choices[leaves_P]).astype(np.int64)
        return leaves_P, rows_P, choices_P

    def steps_of(self, window: int) -> list[Packing]:
        """The steps of a window, each a list of packs.

        Raises:
            DataError: a conversation alone is over the budget.
        """
        first = window * self.window
        leaves_P, rows_P, choices_P = self.draws(first, self.window)
        lengths_P = self._lengths_of(leaves_P, rows_P, choices_P)
        packs = pack_window(lengths_P, self.rules)
        order = permute(
            np.arange(len(packs)),
            np.full(len(packs), len(packs)),
            np.full(len(packs), key_of(self.seed, "window", window), dtype=np.uint64),
        )
        turns = list(
            map(
                ScheduledExample._make,
                zip(
                    range(first, first + self.window),
                    leaves_P.tolist(),
                    rows_P.tolist(),
                    choices_P.tolist(),
                    lengths_P.tolist(),
                    strict=True,
                ),
            )
        )
        turns_of_pack = [[turns[index] for index in packs[number]] for number in order]
        count = self.rules.packs
        return [turns_of_pack[at : at + count] for at in range(0, len(turns_of_pack), count)]

    def padding_of(self, window: int) -> float:
        """Share of padding in a window where every pack becomes rows of equal length."""
        lengths_P = self._lengths_of(*self.draws(window * self.window, self.window))
        return padding_fraction([lengths_P[pack].tolist() for pack in pack_window(lengths_P, self.rules)])

    def _lengths_of(self, leaves_P: Integers, rows_P: Integers, choices_P: Integers) -> Integers:
        lengths_P = np.empty(len(leaves_P), dtype=np.int64)
        for leaf in np.unique(leaves_P):
            here = leaves_P == leaf
            lengths_P[here] = self.lengths[leaf].of(rows_P[here], choices_P[here])
        return lengths_P

    def steps(self, cursor: Cursor) -> Iterator[tuple[Cursor, Packing]]:
        """Every step from a cursor on, without end, each with the cursor behind it."""
        step, window, place = cursor
        while True:
            of_window = self.steps_of(window)
            for packs in of_window[place:]:
                step, place = step + 1, place + 1
                is_last = place == len(of_window)
                yield Cursor(step, window + is_last, 0 if is_last else place), packs
            window, place = window + 1, 0

    def _rota(self, number: int) -> ProportionalInterleaver:
        if number not in self._rotas:
            self._rotas = {number: ProportionalInterleaver(self.segments[number].shares)}
        return self._rotas[number]


def window_length(shares: Sequence[float], leaves: Sequence[MixtureSource], rules: PackingRules) -> int:
    """Positions of a window that has about ``WINDOW_STEPS`` steps, and enough of them for every pack of a step."""
    length = max(1, round(WINDOW_STEPS * conversations_per_step(shares, leaves, rules)))
    return length if rules.conversations is not None else -(-length // rules.packs) * rules.packs


def fingerprint(
    digests: Mapping[str, str],
    segments: Sequence[Segment],
    rules: PackingRules,
    *,
    window: int,
    seed: int,
    wording: str,
    templates: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """What an order depends on, each thing under its own name, so that a difference can be named.

    Args:
        digests: of every leaf's rows.
        wording: digest of what turns rows into tokens.
        templates: digest of how rows of every leaf are put into words.
    """
    return {
        "version": str(VERSION),
        "seed": str(seed),
        "wording": wording,
        "packs_per_step": str(rules.packs),
        "pack_tokens": str(rules.max_tokens),
        "global_batch": str(rules.conversations),
        "window": str(window),
        **({} if rules.packing == "full" else {"packing": rules.packing}),  # orders of old do not say
        "shares": str(key_of(*(str(segment) for segment in segments))),
        **{f"source {name}": digest for name, digest in digests.items()},
        **{f"{TEMPLATES}{name}": digest for name, digest in (templates or {}).items()},
    }


def differences(saved: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The names of what is not as it was."""
    return sorted(name for name in saved.keys() | now.keys() if saved.get(name) != now.get(name))
