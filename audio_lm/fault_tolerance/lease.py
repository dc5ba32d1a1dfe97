"""Who may write into a run folder: the processes that were started last.

An older start that was thought dead, and was only cut off, finds another name in ``lease.json``: at its next
heartbeat, and before each line and each checkpoint that it writes. Looking and writing stand under the lock under
which a lease is taken, so that nothing of an older start comes after a newer one has begun.
"""

import os
import platform
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from audio_lm.common.errors import UserError
from audio_lm.common.files import file_lock, read_json, read_table, write_json
from audio_lm.fault_tolerance.launcher_env import Launch
from audio_lm.fault_tolerance.restarts import last_attempt

FILE, LOCK = "lease.json", "lease.lock"


class Lease:
    """The right to write into a run folder, until somebody else takes it.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path, launch: Launch) -> None:
        self.path = folder / FILE
        self.launch = launch
        self.token = uuid.uuid4().hex
        self.generation = 0

    def take(self) -> None:
        """Become the one who may; whoever was is told by the file."""
        with file_lock(self.path.with_name(LOCK)):
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
        """Whether nobody has taken it since."""
        table = read_json(self.path)
        # Whoever takes it writes all of the file anew; one that is damaged was taken by nobody else.
        return self.generation > 0 if table.fault else table.values.get("token") == self.token

    @contextmanager
    def writing(self) -> Iterator[bool]:
        """Whether it is held; as long as this lasts nobody takes it."""
        with file_lock(self.path.with_name(LOCK)):
            yield self.is_held()

    def check(self) -> None:
        """Go on only while it is held.

        Raises:
            UserError: a newer start of the run has it.
        """
        if not self.is_held():
            raise self.lost

    @property
    def lost(self) -> UserError:
        """What is said when a newer start has it."""
        return UserError(
            f"{self.path}: a newer start of this run writes here; expected to be the only one; "
            f"this one ends and leaves the folder as it is"
        )


def generation_in(folder: Path) -> int:
    """The number of the start that has the folder; every start has a higher one."""
    table = read_json(folder / FILE)
    return last_attempt(folder) if table.fault else int(table.values.get("generation", 0))


def token_in(folder: Path) -> str:
    """What names the start that has the folder; empty where it cannot be read."""
    return str(read_table(folder / FILE).get("token", ""))


def launch_before(folder: Path) -> str:
    """The launch that had the folder last; empty when none had."""
    return str(read_table(folder / FILE).get("launch", ""))
