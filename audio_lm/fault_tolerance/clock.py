"""Order of two points in time, correct even if somebody sets the clock: the kernel counts the time since boot.

Only events of two machines, or of two boots, are compared by wall-clock time.
"""

import time
from dataclasses import dataclass

from audio_lm.common.audio_units import Seconds
from audio_lm.fault_tolerance.processes import boot_id, since_boot, start_time_of


@dataclass(frozen=True)
class Moment:
    """A point in time."""

    time: float = 0.0
    """Wall-clock time, in seconds since the epoch; somebody may set this clock."""

    boot: str = ""
    """Id of the machine's boot; empty if unknown."""

    since_boot: Seconds = 0.0

    def is_before(self, other: "Moment") -> bool:
        """True if this moment is earlier than the other one."""
        if self.boot and self.boot == other.boot:
            return self.since_boot < other.since_boot
        return self.time < other.time


NEVER = Moment()


def now() -> Moment:
    """The current moment."""
    return Moment(time.time(), boot_id(), since_boot())


def start_of(pid: int) -> Moment:
    """Start of a process on this machine; ``NEVER`` if unknown."""
    at = start_time_of(pid)
    return Moment(time.time() - since_boot() + at, boot_id(), at) if at else NEVER
