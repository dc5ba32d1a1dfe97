"""Being told to stop: a signal leaves a note, and nothing else happens until a step has ended.

A handler that saves or talks to other ranks may come in the middle of a
collective, and then all hang; so it only writes a number down.
"""

import signal
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
RANKS = 1 << 20  # a note is a signal and the rank that had it, in one number
LOST = 1 << 40  # a note that is larger than any: a newer start has the run


class SignalFlag:
    """What this process has been told, first come."""

    def __init__(self) -> None:
        self.received = 0

    def listen(self) -> None:
        """Take the signals, over whatever handler there was."""
        for number in STOP_SIGNALS:
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = self.received or number


SIGNALS = SignalFlag()  # a signal is sent to a process, so there is one


def encode_signal(received: int, rank: int) -> int:
    """One number for a signal and who had it; 0 when nobody was told.

    >>> decode_signal(encode_signal(15, 3)), encode_signal(0, 3)
    ((15, 3), 0)
    """
    return received * RANKS + rank if received else 0


def decode_signal(note: int) -> tuple[int, int]:
    """The inverse of ``encode_signal``."""
    return divmod(note, RANKS)
