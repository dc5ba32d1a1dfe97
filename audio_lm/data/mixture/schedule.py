"""Schedule of a stage: packs of each step as a pure function of seed and position.

Positions are divided into windows of equal length. The conversations of a window are packed (``packing``), the packs
are shuffled, and a global step takes the next ``packs_per_step`` of them. Each rank takes its slice of a step, so
the schedule does not depend on the number of ranks.

The only state is a ``Cursor``; the schedule can be resumed at any cursor without replaying the steps before.

Shapes: P positions of a window, S sources.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from audio_lm.common.rng import key_of
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

VERSION = 1  # incremented when the same settings give another schedule
TEMPLATES = "templates of "
ONLINE = "online"  # entry of a fingerprint: rules of adapted shares
WINDOW_STEPS = 64
"""Steps of a window. The last step of a window is not full; it loses about half a step per window."""

EXPECTED_FILL = {"full": 0.99, "buckets": 0.97}
"""Fraction of the token budget that is used, by packing method; measured with 8 packs of 8192 tokens."""


class ScheduledExample(NamedTuple):
    """Example drawn at a position."""

    position: int
    source: int  # index of the source in the schedule
    row: int
    choice: int  # of the paraphrase
    num_tokens: int  # as measured


Packing = list[list[ScheduledExample]]  # the packs of a step


class Cursor(NamedTuple):
    """Position of a step in the schedule; the state that a checkpoint stores."""

    step: int = 0
    window: int = 0
    place: int = 0
    """Index of the step in its window."""


class Lengths(Protocol):
    """Token lengths of the rows of a source."""

    num_choices: int

    def of(self, rows_P: Integers, choices_P: Integers) -> Integers:
        """Tokens of rows under paraphrases."""
        ...


@dataclass(frozen=True)
class Segment:
    """Stretch of the schedule with constant shares, from a position on."""

    position: int
    shares: tuple[int, ...]
    draws: tuple[int, ...]
    """Number of draws of each source before the position."""


class SegmentStart(NamedTuple):
    """Start of new segments: the start of a stage, or a position within a stage that has partly run."""

    step: int = 0
    position: int = 0
    draws: tuple[int, ...] = ()
    """Number of draws of each source before; empty for zero."""


STAGE_START = SegmentStart()


def segments_of(
    config: MixtureConfig,
    sources: Sequence[MixtureSource],
    rules: PackingRules,
    *,
    steps: int,
    start: SegmentStart = STAGE_START,
) -> tuple[list[Segment], int]:
    """Segments of a stage, and the number of positions that the stage is expected to draw.

    A new segment starts when a schedule changes a weight, and when a source reaches its cap.

    The steps of a weight schedule are converted to positions with the expected number of conversations per step, which
    is exact if the recipe sets ``global_batch``.

    Raises:
        RecipeError: every source reaches its cap before the stage ends.
    """
    caps = [max_examples(config, source) for source in sources]
    found: list[Segment] = []
    position, draws = start.position, list(start.draws or [0] * len(sources))
    closed = _at_cap(caps, draws)
    for (first, weights), end in _with_ends(piecewise_weights(config, steps=steps), steps):
        step = max(first, start.step)
        while step < end:
            shares = clip_shares(config, sources, weights=weights, closed=closed)
            interleaver = ProportionalInterleaver(integer_shares(shares))
            found.append(Segment(position, tuple(interleaver.shares.tolist()), tuple(draws)))
            per_step = conversations_per_step(shares, sources, rules)
            ends_at = position + max(1, round((end - step) * per_step))
            closing = _first_closed(interleaver, caps, draws, position, ends_at, closed)
            if closing is not None:
                ends_at = closing
                step = min(end, step + (ends_at - position) / per_step)
            else:
                step = end
            draws = (np.array(draws) + interleaver.draws_before(ends_at - position)).tolist()
            closed = _at_cap(caps, draws)
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
    interleaver: ProportionalInterleaver,
    caps: Sequence[int | None],
    draws: Sequence[int],
    position: int,
    ends_at: int,
    closed: set[int],
) -> int | None:
    """Position after the last draw of the source that reaches its cap first; None if none does before the end."""
    reached = [
        position + interleaver.position_of(source, cap - draws[source] - 1) + 1
        for source, cap in enumerate(caps)
        if cap is not None and source not in closed and interleaver.shares[source] > 0
    ]
    first = min(reached, default=ends_at)
    return first if first < ends_at else None


def _at_cap(caps: Sequence[int | None], draws: Sequence[int]) -> set[int]:
    """Sources that have been drawn as often as they may be, also where that is at the end of a segment."""
    return {source for source, cap in enumerate(caps) if cap is not None and draws[source] >= cap}


def expected_examples(segments: Sequence[Segment], num_positions: int) -> list[int]:
    """Number of draws of every source before a position (S)."""
    last = [segment for segment in segments if segment.position <= num_positions][-1]
    more = ProportionalInterleaver(last.shares).draws_before(num_positions - last.position)
    return [before + int(count) for before, count in zip(last.draws, more, strict=True)]


def conversations_per_step(
    shares: Sequence[float], sources: Sequence[MixtureSource], rules: PackingRules
) -> float:
    """Conversations of a step: as configured, or as many as are expected to fill the token budget."""
    if rules.conversations is not None:
        return float(rules.conversations)
    mean = sum(share * source.mean_tokens for share, source in zip(shares, sources, strict=True))
    return rules.packs * rules.max_tokens * EXPECTED_FILL[rules.packing] / mean


class PackSchedule:
    """Packs of every step of a stage.

    Args:
        names: of the sources; each keys the shuffling of its source, so that added sources do not change it.
        sizes: number of rows of each source.
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
        self.num_decided: int | None = None
        """Windows whose shares are known; None if all are."""

        self._interleavers: dict[int, ProportionalInterleaver] = {}
        self._starts = [segment.position for segment in segments]
        self._keys = np.array([key_of(seed, "order", name) for name in names], dtype=np.uint64)
        self._choice_key = np.uint64(key_of(seed, "paraphrase"))
        self._num_choices = np.array([of_source.num_choices for of_source in lengths], dtype=np.uint64)

    def set_window(self, window: int, counts: Sequence[int]) -> None:
        """Set how often each source is drawn in a window, the first one whose shares are not known.

        Args:
            counts: of each source (S); the sum is the length of a window.
        """
        position = window * self.window
        draws = tuple(expected_examples(self.segments, position))
        kept = bisect_right(self._starts, position - 1)
        self.segments[kept:] = [Segment(position, tuple(counts), draws)]
        self._starts[kept:] = [position]
        self._interleavers.clear()
        self.num_decided = window + 1

    def draws(self, first: int, count: int) -> tuple[Integers, Integers, Integers]:
        """Source, row and paraphrase at ``count`` positions from the first on (P)."""
        sources_P, draws_P = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
        position, end = first, first + count
        while position < end:
            number = bisect_right(self._starts, position) - 1
            until = min(end, self._starts[number + 1] if number + 1 < len(self._starts) else end)
            segment, part = self.segments[number], slice(position - first, until - first)
            positions = np.arange(position, until) - segment.position
            sources_P[part], draws = self._interleaver(number).at(positions)
            draws_P[part] = draws + np.array(segment.draws)[sources_P[part]]
            position = until
        sizes_P = self.sizes[sources_P]
        epochs_P, numbers_P = np.divmod(draws_P, sizes_P)
        rows_P = permute(numbers_P, sizes_P, splitmix64(self._keys[sources_P], epochs_P.astype(np.uint64)))
        hashes_P = splitmix64(np.arange(first, end, dtype=np.uint64), self._choice_key)
        choices_P = (hashes_P % self._num_choices[sources_P]).astype(np.int64)
        return sources_P, rows_P, choices_P

    def steps_of(self, window: int) -> list[Packing]:
        """Steps of a window, each a list of packs.

        Raises:
            DataError: a single conversation exceeds the token budget.
        """
        assert self.num_decided is None or window < self.num_decided, (
            f"the shares of window {window} are not decided"
        )
        first = window * self.window
        sources_P, rows_P, choices_P = self.draws(first, self.window)
        lengths_P = self._lengths_of(sources_P, rows_P, choices_P)
        packs = pack_window(lengths_P, self.rules)
        order = permute(
            np.arange(len(packs)),
            np.full(len(packs), len(packs)),
            np.full(len(packs), key_of(self.seed, "window", window), dtype=np.uint64),
        )
        scheduled = list(
            map(
                ScheduledExample._make,
                zip(
                    range(first, first + self.window),
                    sources_P.tolist(),
                    rows_P.tolist(),
                    choices_P.tolist(),
                    lengths_P.tolist(),
                    strict=True,
                ),
            )
        )
        shuffled = [[scheduled[index] for index in packs[number]] for number in order]
        count = self.rules.packs
        return [shuffled[at : at + count] for at in range(0, len(shuffled), count)]

    def padding_of(self, window: int) -> float:
        """Share of padding tokens in a window if every pack is padded to its longest conversation."""
        lengths_P = self._lengths_of(*self.draws(window * self.window, self.window))
        return padding_fraction([lengths_P[pack].tolist() for pack in pack_window(lengths_P, self.rules)])

    def _lengths_of(self, sources_P: Integers, rows_P: Integers, choices_P: Integers) -> Integers:
        lengths_P = np.empty(len(sources_P), dtype=np.int64)
        for source in np.unique(sources_P):
            is_source = sources_P == source
            lengths_P[is_source] = self.lengths[source].of(rows_P[is_source], choices_P[is_source])
        return lengths_P

    def steps(self, cursor: Cursor) -> Iterator[tuple[Cursor, Packing]]:
        """Endless steps from a cursor on, each with the cursor after it."""
        step, window, place = cursor
        while True:
            steps = self.steps_of(window)
            for packs in steps[place:]:
                step, place = step + 1, place + 1
                is_last = place == len(steps)
                yield Cursor(step, window + is_last, 0 if is_last else place), packs
            window, place = window + 1, 0

    def _interleaver(self, number: int) -> ProportionalInterleaver:
        if number not in self._interleavers:
            self._interleavers = {number: ProportionalInterleaver(self.segments[number].shares)}
        return self._interleavers[number]


def window_length(
    shares: Sequence[float],
    sources: Sequence[MixtureSource],
    rules: PackingRules,
    *,
    steps: int | None = None,
) -> int:
    """Positions of a window of about ``steps``, by default ``WINDOW_STEPS``, with at least one conversation for every pack."""
    length = max(1, round((steps or WINDOW_STEPS) * conversations_per_step(shares, sources, rules)))
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
    online: str = "",
) -> dict[str, str]:
    """Everything that a schedule depends on, by name, so that a difference can be named.

    Args:
        digests: of the rows of every source.
        wording: prompt format, vocabulary digest and audio token count of the model.
        templates: digest of the prompts of every source.
        online: rules of adapted shares; empty where the mixture alone decides the shares.
    """
    return {
        "version": str(VERSION),
        "seed": str(seed),
        "wording": wording,
        "packs_per_step": str(rules.packs),
        "pack_tokens": str(rules.max_tokens),
        "global_batch": str(rules.conversations),
        "window": str(window),
        **(
            {} if rules.packing == "full" else {"packing": rules.packing}
        ),  # absent in fingerprints of earlier releases
        **({ONLINE: online} if online else {}),
        "shares": str(key_of(*map(_in_fingerprint, segments))),
        **{f"source {name}": digest for name, digest in digests.items()},
        **{f"{TEMPLATES}{name}": digest for name, digest in (templates or {}).items()},
    }


def differences(saved: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Names of the entries that differ between two fingerprints."""
    return sorted(name for name in saved.keys() | now.keys() if saved.get(name) != now.get(name))


def _in_fingerprint(segment: Segment) -> str:
    """Text of a segment in fingerprints; a different one would make every saved run differ."""
    return f"Segment(position={segment.position}, shares={segment.shares}, heard={segment.draws})"  # as in earlier releases
