"""Who may write into a run folder: the processes that were started last.

An older start that was thought dead, and was only cut off, finds another name in
``lease.json`` before it renames a checkpoint, and ends. Between that look and
the rename a few microseconds stay open.
"""

import os
import platform
import time
import uuid
from pathlib import Path

from audio_lm.errors import UserError
from audio_lm.survival.exits import read_json, replace_json
from audio_lm.survival.launch import Launch

FILE = "lease.json"


class Lease:
    """The right to write into a run folder, until somebody else takes it.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path, launch: Launch) -> None:
        self.path = folder / FILE
        self.launch = launch
        self.token = uuid.uuid4().hex

    def take(self) -> None:
        """Become the one who may; whoever was is told by the file."""
        generation = generation_in(self.path.parent) + 1
        replace_json(
            self.path,
            {
                "generation": generation,
                "token": self.token,
                "launch": self.launch.id,
                "host": platform.node(),
                "pid": os.getpid(),
                "time": time.time(),
            },
        )

    def is_held(self) -> bool:
        """Whether nobody has taken it since."""
        return read_json(self.path).get("token") == self.token

    def check(self) -> None:
        """Go on only while it is held.

        Raises:
            UserError: a newer start of the run has it.
        """
        if not self.is_held():
            raise UserError(
                f"{self.path}: a newer start of this run writes here; expected to be the only one; "
                f"this one ends and leaves the folder as it is"
            )


def generation_in(folder: Path) -> int:
    """The number of the start that has the folder; every start has a higher one."""
    return int(read_json(folder / FILE).get("generation", 0))


def launch_before(folder: Path) -> str:
    """The launch that had the folder last; empty when none had."""
    return str(read_json(folder / FILE).get("launch", ""))
