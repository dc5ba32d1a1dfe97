"""Retention of checkpoints, time between them and asynchronous writing: ``checkpoints`` of a stage in a recipe."""

from dataclasses import dataclass
from typing import Annotated

from audio_lm.common.ranges import Count, Range

MIN_VALID = 2
"""Valid checkpoints that are never deleted: if the newest turns out damaged, one is left."""


@dataclass(frozen=True)
class CheckpointConfig:
    """Checkpoint settings of a stage; none changes a result, so a resumed run may change them."""

    keep_last: Annotated[int, Range(MIN_VALID, 10**6)] = 2
    """Number of newest checkpoints to keep; two at least."""

    keep_best: Count = 1
    """Number of checkpoints with the lowest validation loss to keep in addition."""

    pin_every: Count = 0
    """Steps between checkpoints that are never deleted; 0 for none. A file `PINNED` in a checkpoint pins it too."""

    every_minutes: Annotated[float, Range(0, 10**6)] = 5.0
    """Longest time between checkpoints, checked every 10 steps; 0 saves by step count only."""

    asynchronous: bool = True
    """Copy the state to host memory, and write it to disk while training continues."""
