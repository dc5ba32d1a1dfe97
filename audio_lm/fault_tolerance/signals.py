"""Stop signals: a handler sets a flag, which is read after the step.

A handler that saves, or communicates with other ranks, may interrupt a collective, and then all ranks
hang; so it only sets a number.
"""

import signal
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
RANKS = 1 << 20  # a code holds a signal and the rank that received it, in one number
LOST = 1 << 40  # a code larger than any other: a newer start has the run


class SignalFlag:
    """First stop signal that this process received."""

    def __init__(self) -> None:
        self.received = 0

    def listen(self) -> None:
        """Install the handler in place of any other."""
        for number in STOP_SIGNALS:
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = self.received or number


SIGNALS = SignalFlag()  # one for the process, as signals are sent to processes


def encode_signal(received: int, rank: int) -> int:
    """One number for a signal and the rank that received it; 0 for no signal.

    >>> decode_signal(encode_signal(15, 3)), encode_signal(0, 3)
    ((15, 3), 0)
    """
    return received * RANKS + rank if received else 0


def decode_signal(code: int) -> tuple[int, int]:
    """The inverse of ``encode_signal``."""
    return divmod(code, RANKS)
