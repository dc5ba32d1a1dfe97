"""The lease of this start, compared with the run folder at every heartbeat."""

import threading
from contextlib import AbstractContextManager
from pathlib import Path

from audio_lm.common.env import is_main
from audio_lm.common.errors import UserError
from audio_lm.fault_tolerance.heartbeat import BEAT
from audio_lm.fault_tolerance.launcher_env import Launch
from audio_lm.fault_tolerance.lease import Lease, generation_in, token_in


class LeaseWatch:
    """Detects whether a newer start has taken the run folder.

    The first rank takes the lease; every rank compares its token.
    """

    def __init__(self, folder: Path, launch: Launch) -> None:
        self.folder = folder
        self.lease = Lease(folder, launch)
        self.attempt = 0
        """Number of this start; every start of a folder has a higher one."""

        self.is_lost = False
        self.is_taken = False
        self._token = ""
        self._is_over = threading.Event()

    def take(self) -> int:
        """Take the run folder, on the first rank; returns the number of this start."""
        self.lease.take()
        return generation_in(self.folder)

    def check(self) -> None:
        """Read the lease itself, on the rank that took it.

        Raises:
            UserError: a newer start has it.
        """
        self.lease.check()

    def writing(self) -> AbstractContextManager[bool]:
        """Lock the run folder for one write; False where it belongs to a newer start."""
        return self.lease.writing()

    def lost_error(self) -> UserError:
        """Error to raise when a newer start has the run folder."""
        return self.lease.lost

    def open(self) -> None:
        """Start watching, on every rank, after the lease was taken."""
        self.attempt = generation_in(self.folder)
        self._token = self.lease.token if is_main() else token_in(self.folder)
        self.is_taken = True
        # A thread of its own: a disk that hangs must not stop the heartbeat.
        threading.Thread(target=self._watch, name="audio_lm-lease", daemon=True).start()

    def stop(self) -> None:
        """Stop watching."""
        self._is_over.set()

    def look(self) -> bool:
        """Compare the token in the folder with ours; True when it is lost."""
        if self.is_taken and token_in(self.folder) not in ("", self._token):
            self.is_lost = True
        return self.is_lost

    @property
    def is_newest(self) -> bool:
        """True while no later start has the run folder."""
        return self.is_taken and not self.look()

    def _watch(self) -> None:
        while not self._is_over.wait(BEAT):
            self.look()
