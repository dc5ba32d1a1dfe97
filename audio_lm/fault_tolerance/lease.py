"""Lease of a run folder: only the newest start of a run may write there.

An older start that was believed dead, but only lost its connection, finds another token in ``lease.json``: at
every heartbeat, and before each line and each checkpoint that it writes. A check and the write after it hold the
lock that taking the lease needs, so an older start writes nothing after a newer one has started.
"""

import os
import platform
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from audio_lm.common.errors import UserError
from audio_lm.common.files import locked, read_json, read_table, write_json
from audio_lm.fault_tolerance.launcher_env import Launch
from audio_lm.fault_tolerance.restarts import last_attempt

FILE, LOCK = "lease.json", "lease.lock"


class Lease:
    """Right to write into a run folder, until another start takes it.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path, launch: Launch) -> None:
        self.path = folder / FILE
        self.launch = launch
        self.token = uuid.uuid4().hex
        self.generation = 0

    def take(self) -> None:
        """Take the lease; the previous holder learns it from the file."""
        with locked(self.path.with_name(LOCK)):
            self.generation = generation_in(self.path.parent) + 1
            write_json(
                self.path,
                {
                    "generation": self.generation,
                    "token": self.token,
                    "launch": self.launch.id,
                    "host": platform.node(),
                    "pid": os.getpid(),
                    "time": time.time(),
                },
            )

    def is_held(self) -> bool:
        """True if no other start has taken the lease since."""
        table = read_json(self.path)
        # A new holder replaces the whole file, so a damaged file is still our own.
        return self.generation > 0 if table.fault else table.values.get("token") == self.token

    @contextmanager
    def writing(self) -> Iterator[bool]:
        """Block other starts from taking the lease while the context is open; yields True if it is still held."""
        with locked(self.path.with_name(LOCK)):
            yield self.is_held()

    def check(self) -> None:
        """Check that the lease is still held.

        Raises:
            UserError: a newer start of the run has it.
        """
        if not self.is_held():
            raise self.lost

    @property
    def lost(self) -> UserError:
        """Error for a lease that a newer start has taken."""
        return UserError(
            f"{self.path}: a newer start of this run writes here; expected to be the only one; "
            f"this one ends and leaves the folder unchanged"
        )


def generation_in(folder: Path) -> int:
    """Generation of the start that holds the lease; it grows with every start."""
    table = read_json(folder / FILE)
    return last_attempt(folder) if table.fault else int(table.values.get("generation", 0))


def token_in(folder: Path) -> str:
    """Token of the start that holds the lease; empty if it cannot be read."""
    return str(read_table(folder / FILE).get("token", ""))


def launch_before(folder: Path) -> str:
    """Launch that held the lease last; empty if there was none."""
    return str(read_table(folder / FILE).get("launch", ""))
