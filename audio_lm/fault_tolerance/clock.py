"""What came first, also where somebody sets a clock: machines know how long they have been on.

Only what happened on two machines is compared by their clocks.
"""

import time
from dataclasses import dataclass

from audio_lm.common.audio_units import Seconds
from audio_lm.fault_tolerance.processes import boot, since_boot, start_time_of


@dataclass(frozen=True)
class Moment:
    """A point in time."""

    time: float = 0.0
    """Seconds since the epoch, by a clock that may be set."""

    boot: str = ""
    """Of the machine; empty when that is not known."""

    since_boot: Seconds = 0.0

    def is_before(self, other: "Moment") -> bool:
        """Whether this one was first."""
        if self.boot and self.boot == other.boot:
            return self.since_boot < other.since_boot
        return self.time < other.time


NEVER = Moment()


def now() -> Moment:
    """This moment."""
    return Moment(time.time(), boot(), since_boot())


def start_of(pid: int) -> Moment:
    """When a process of this machine began; ``NEVER`` when that is not known."""
    at = start_time_of(pid)
    return Moment(time.time() - since_boot() + at, boot(), at) if at else NEVER
