"""Which checkpoints of a stage stay, and whether training waits for them, as it stands in a recipe's stages."""

from dataclasses import dataclass
from typing import Annotated

from audio_lm.common.ranges import Count, Range

FEWEST = 2
"""Valid checkpoints that always stay, so that one more fault is survived."""


@dataclass(frozen=True)
class CheckpointConfig:
    """None of it changes a result, so it may be another when a run goes on."""

    keep_last: Annotated[int, Range(FEWEST, 10**6)] = 2
    """Newest checkpoints that stay; two at least."""

    keep_best: Count = 1
    """Of those written after a validation, so many with the lowest loss stay as well."""

    pin_every: Count = 0
    """Checkpoints of steps that are multiples of it stay for good; 0 pins none. So does one with a file `PINNED`."""

    every_minutes: Annotated[float, Range(0, 10**6)] = 5.0
    """One is also written when none was for so long, looked at every 10 steps; 0 counts steps only."""

    asynchronous: bool = True
    """Training waits for a copy in the host's memory only, and the disk is written while it goes on."""
