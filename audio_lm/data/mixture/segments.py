"""The order of a stage as it was declared piece by piece, in plain numbers.

A mixture that changes while a stage runs does not change what was heard: the old
segments stay, new ones are appended where the next window begins, and every
source goes on in its pass. Sources may come; those that are left out keep their
number and have no share from there on.

Shapes: L leaves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from audio_lm.data.mixture.schedule import Cursor, PackSchedule, Segment, SegmentStart, expected_examples


@dataclass(frozen=True)
class SegmentHistory:
    """All segments of a stage, the leaves they count, and the window they are cut into."""

    window: int
    names: tuple[str, ...]
    """Of the leaves (L); those that came later stand behind those that were there."""

    digests: tuple[str, ...]
    """Of their rows (L)."""

    segments: tuple[Segment, ...]
    num_positions: int
    """That the whole stage is expected to hear."""

    def as_json(self) -> dict[str, Any]:
        """As ``status.json`` keeps it."""
        return {
            "window": self.window,
            "num_positions": self.num_positions,
            "digest_of_leaf": dict(zip(self.names, self.digests, strict=True)),
            "segments": [[one.position, list(one.shares), list(one.draws)] for one in self.segments],
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """As it was kept."""
        digests = content["digest_of_leaf"]
        segments = [Segment(at, tuple(shares), tuple(draws)) for at, shares, draws in content["segments"]]
        return cls(
            content["window"],
            tuple(digests),
            tuple(digests.values()),
            tuple(segments),
            content["num_positions"],
        )

    def segment_at(self, position: int) -> Segment:
        """The segment of a position."""
        return [one for one in self.segments if one.position <= max(0, position)][-1]

    def draws_before(self, position: int) -> dict[str, int]:
        """How often every leaf is heard before a position."""
        return dict(zip(self.names, expected_examples(self.segments, position), strict=True))

    def with_segments(
        self, names: Sequence[str], digests: Sequence[str], segments: Sequence[Segment], *, num_positions: int
    ) -> Self:
        """With segments that begin where the first of them does, over leaves in an order of their own."""
        begin = segments[0].position
        draws = self.draws_before(begin)
        come = [name for name in names if name not in draws]
        together = dict(zip(self.names, self.digests, strict=True)) | dict(zip(names, digests, strict=True))
        old = [
            Segment(one.position, (*one.shares, *[0] * len(come)), (*one.draws, *[0] * len(come)))
            for one in self.segments
            if one.position < begin
        ]
        new = []
        for one in segments:
            shares = dict(zip(names, one.shares, strict=True))
            counts = draws | dict(zip(names, one.draws, strict=True))
            of_leaves = tuple(shares.get(name, 0) for name in together)
            new.append(Segment(one.position, of_leaves, tuple(counts[name] for name in together)))
        return type(self)(self.window, tuple(together), tuple(together.values()), (*old, *new), num_positions)


def next_segment_start(
    plan: PackSchedule, cursor: Cursor, names: Sequence[str], history: SegmentHistory
) -> SegmentStart:
    """Where segments can be appended: the window a step stands in was dealt as a whole, the next one was not.

    Args:
        plan: as it was.
        cursor: behind the last step that was trained.
        names: of the leaves that are to be heard, whose counts go on.
    """
    step, window = cursor.step, cursor.window
    if cursor.place:
        step += len(plan.steps_of(window)) - cursor.place
        window += 1
    draws = history.draws_before(window * history.window)
    return SegmentStart(step, window * history.window, tuple(draws.get(name, 0) for name in names))
