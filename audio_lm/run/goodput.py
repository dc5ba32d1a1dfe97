"""Goodput of a run: the share of its time in steps that count, and what the rest went to.

A step counts unless a later start went back to a checkpoint before it. The time between two starts is not counted, because
nobody knows whether the run was meant to go on then. The time after the last line of a start that was killed, at most a few
steps, is part of it.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from audio_lm.common.audio_units import Seconds
from audio_lm.common.durations import in_words
from audio_lm.common.files import read_lines

FILE = "time.jsonl"
STEP = "step"
CAUSE_OF_PHASE = {
    "data": "waiting for data",
    "save": "checkpoints",
    "validation": "validation",
    "scores": "scores during training",
    "evaluation": "evaluation",
    "start": "start",
    "building": "start",
    "measuring": "start",
}
"""Phase of the heartbeat -> what the time went to; any other is ``other``."""

LOST, RESTART, START, OTHER = "lost steps", "restarts", "start", "other"
MIN_SHARE = 0.0005  # of the time, below which a cause is not printed


class _Line(NamedTuple):
    attempt: int
    stage: str | None
    step: int
    is_first: bool
    time: float
    seconds: Mapping[str, Seconds]


@dataclass(frozen=True)
class Goodput:
    """Time of a run."""

    wall: Seconds
    """Time of all starts."""

    kept: Seconds
    """Time in steps that count."""

    lost: Mapping[str, Seconds]
    """Cause -> the rest of the time."""

    num_starts: int
    between: Seconds
    """Time between the starts, which is not counted."""

    num_lost_steps: int

    @property
    def share(self) -> float:
        """Share of the time in steps that count."""
        return self.kept / self.wall if self.wall else 0.0

    def lines(self) -> Iterator[str]:
        """Goodput in words: the share, and the causes of the rest, largest first."""
        starts = "1 start" if self.num_starts == 1 else f"{self.num_starts} starts"
        causes = sorted(self.lost.items(), key=lambda item: -item[1])
        parts = [
            f"{cause} {in_words(seconds)}" for cause, seconds in causes if seconds > MIN_SHARE * self.wall
        ]
        between = f"; {in_words(self.between)} between them are not counted" if self.between >= 1 else ""
        steps = f", {self.num_lost_steps} steps were repeated" if self.num_lost_steps else ""
        yield (
            f"goodput {100 * self.share:.1f} %: {in_words(self.kept)} of {in_words(self.wall)} in steps that count "
            f"({starts}{steps}{between}); the rest: {', '.join(parts) or 'nothing'}"
        )

    def as_metrics(self) -> dict[str, float]:
        """Share and seconds under names for MLflow, without a slash, because names with one are scores there."""
        seconds = {"wall": self.wall, "kept_steps": self.kept, **self.lost}
        return {"goodput": self.share} | {
            f"seconds_{name.replace(' ', '_')}": value for name, value in seconds.items()
        }


def goodput_of(folder: Path) -> Goodput | None:
    """Goodput of a run; None if it has no record of its time, as runs of earlier releases."""
    starts: dict[int, list[_Line]] = defaultdict(list)
    for line in _read(folder / FILE):
        starts[line.attempt].append(line)
    if not starts:
        return None
    attempts = [lines for _, lines in sorted(starts.items())]
    lost: dict[str, Seconds] = defaultdict(float)
    wall = kept = 0.0
    num_lost_steps = 0
    for number, lines in enumerate(attempts):
        phases = dict(lines[-1].seconds)
        wall += sum(phases.values())
        steps = phases.pop(STEP, 0.0)
        counted, steps_lost = _counted(lines, attempts[number + 1 :])
        kept += counted
        lost[LOST] += steps - counted
        num_lost_steps += steps_lost
        for phase, seconds in phases.items():
            cause = CAUSE_OF_PHASE.get(phase, OTHER)
            lost[RESTART if cause == START and number else cause] += seconds
    ends = [(lines[0].time - sum(lines[0].seconds.values()), lines[-1].time) for lines in attempts]
    between = sum(max(0.0, later[0] - earlier[1]) for earlier, later in pairwise(ends))
    return Goodput(
        wall,
        kept,
        {cause: lost[cause] for cause in lost if lost[cause] > 0},
        len(attempts),
        between,
        num_lost_steps,
    )


def goodput_lines(folder: Path) -> Iterator[str]:
    """Goodput in words; nothing without a record."""
    if (found := goodput_of(folder)) is not None:
        yield from found.lines()


def _counted(lines: Sequence[_Line], later: Sequence[Sequence[_Line]]) -> tuple[Seconds, int]:
    """Time in the steps of a start that count, and the number of its steps that do not."""
    counted, num_lost = 0.0, 0
    for first, last in _stages(lines):
        of_stage = lines[first : last + 1]
        resumed = [
            line.step
            for start in later
            for line in start
            if line.is_first and line.stage == of_stage[0].stage
        ]
        end = min([of_stage[-1].step, *resumed])
        reached = [line for line in of_stage if line.step <= end]
        if not reached:  # it went back to before the first step of this start
            num_lost += of_stage[-1].step - of_stage[0].step
            continue
        num_lost += of_stage[-1].step - max(end, of_stage[0].step)
        counted += reached[-1].seconds.get(STEP, 0.0) - of_stage[0].seconds.get(STEP, 0.0)
    return counted, num_lost


def _stages(lines: Sequence[_Line]) -> Iterator[tuple[int, int]]:
    """First and last line of each stage that a start trains."""
    firsts = [number for number, line in enumerate(lines) if line.is_first]
    for number, first in enumerate(firsts):
        yield first, (firsts[number + 1] if number + 1 < len(firsts) else len(lines)) - 1


def _read(path: Path) -> Iterator[_Line]:
    """Lines of the record; damaged ones are skipped."""
    if not path.is_file():
        return
    for record, _ in read_lines(path):
        if record is not None and (line := _line(record)) is not None:
            yield line


def _line(record: Mapping[str, Any]) -> _Line | None:
    try:
        return _Line(
            int(record["attempt"]),
            record["stage"],
            int(record["step"] or 0),
            bool(record["is_first"]),
            float(record["time"]),
            {str(name): float(seconds) for name, seconds in record["seconds"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError, json.JSONDecodeError):
        return None
