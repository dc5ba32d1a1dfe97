"""Segments of a stage whose mixture was changed while it ran (``resume=segment``).

A change does not affect the examples that were drawn before: the old segments stay, and new ones start at the
next window. Every source continues in its epoch. Sources may be added; a removed source keeps its index, with a share
of zero.

Shapes: S sources.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from audio_lm.data.mixture.schedule import Cursor, PackSchedule, Segment, SegmentStart, expected_examples


@dataclass(frozen=True)
class SegmentHistory:
    """All segments of a stage, its sources and its window length."""

    window: int
    names: tuple[str, ...]
    """Names of the sources (S); later ones are appended."""

    digests: tuple[str, ...]
    """Digests of their rows (S)."""

    segments: tuple[Segment, ...]
    num_positions: int
    """Number of positions that the whole stage is expected to draw."""

    def as_json(self) -> dict[str, Any]:
        """Convert to the form stored in ``status.json``."""
        return {
            "window": self.window,
            "num_positions": self.num_positions,
            "digest_of_leaf": dict(zip(self.names, self.digests, strict=True)),
            "segments": [
                [segment.position, list(segment.shares), list(segment.draws)] for segment in self.segments
            ],
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Load from the form stored in ``status.json``."""
        digests = content["digest_of_leaf"]
        segments = [
            Segment(position, tuple(shares), tuple(draws)) for position, shares, draws in content["segments"]
        ]
        return cls(
            content["window"],
            tuple(digests),
            tuple(digests.values()),
            tuple(segments),
            content["num_positions"],
        )

    def segment_at(self, position: int) -> Segment:
        """Segment of a position."""
        return [segment for segment in self.segments if segment.position <= max(0, position)][-1]

    def draws_before(self, position: int) -> dict[str, int]:
        """Number of draws of every source before a position."""
        return dict(zip(self.names, expected_examples(self.segments, position), strict=True))

    def with_segments(
        self, names: Sequence[str], digests: Sequence[str], segments: Sequence[Segment], *, num_positions: int
    ) -> Self:
        """Replace the segments from the position of the first new segment on.

        Args:
            names: of the sources of the new segments, in their order.
            digests: of the rows of these sources.
        """
        start = segments[0].position
        draws = self.draws_before(start)
        added = [0 for name in names if name not in draws]
        digest_of_source = dict(zip(self.names, self.digests, strict=True)) | dict(
            zip(names, digests, strict=True)
        )
        old = [
            Segment(segment.position, (*segment.shares, *added), (*segment.draws, *added))
            for segment in self.segments
            if segment.position < start
        ]
        new = []
        for segment in segments:
            share_of = dict(zip(names, segment.shares, strict=True))
            draws_of = draws | dict(zip(names, segment.draws, strict=True))
            shares = tuple(share_of.get(name, 0) for name in digest_of_source)
            new.append(Segment(segment.position, shares, tuple(draws_of[name] for name in digest_of_source)))
        return type(self)(
            self.window,
            tuple(digest_of_source),
            tuple(digest_of_source.values()),
            (*old, *new),
            num_positions,
        )


def next_segment_start(
    schedule: PackSchedule, cursor: Cursor, names: Sequence[str], history: SegmentHistory
) -> SegmentStart:
    """Start of the next window, where new segments can start: the current window is packed as a whole.

    Args:
        schedule: of the run so far.
        cursor: after the last trained step.
        names: of the sources of the new segments, whose draws continue to count.
    """
    step, window = cursor.step, cursor.window
    if cursor.place:
        step += len(schedule.steps_of(window)) - cursor.place
        window += 1
    draws = history.draws_before(window * history.window)
    return SegmentStart(step, window * history.window, tuple(draws.get(name, 0) for name in names))
