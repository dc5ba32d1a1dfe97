"""How a run ends, for whoever started it: an exit code, and ``exit_reason.json`` in the run folder.

torchrun makes 1 of every code but 0, so a launcher reads the file.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from audio_lm.common.audio_units import Seconds
from audio_lm.common.files import dataclass_from, read_table, write_json
from audio_lm.fault_tolerance.clock import Moment, now
from audio_lm.fault_tolerance.launcher_env import Launch

FINISHED = 0
FAULT = 1
STOPPED_BY_SIGNAL = 75  # EX_TEMPFAIL: begin again later. Source: sysexits.h
INTERRUPTED = 130  # Ctrl-C, as of a shell
FILE = "exit_reason.json"
Reason = Literal["finished", "told", "interrupted", "loop", "fault", "lost"]
CODE_OF_REASON: dict[Reason, int] = {
    "finished": FINISHED,
    "told": STOPPED_BY_SIGNAL,
    "interrupted": INTERRUPTED,
    "loop": FAULT,
    "fault": FAULT,
    "lost": FAULT,
}


@dataclass(frozen=True)
class ExitReason:
    """Why a run ended; the launch that is named must not begin again."""

    reason: Reason
    sentence: str
    launch: str = ""
    attempt: int = 0
    signal: str | None = None
    rank: int | None = None
    stage: str | None = None
    step: int | None = None
    time: float = 0.0
    boot: str = ""
    since_boot: Seconds = 0.0

    @property
    def code(self) -> int:
        """Of the process."""
        return CODE_OF_REASON[self.reason]

    @property
    def is_final(self) -> bool:
        """Whether the launch is not to begin its processes again."""
        return self.reason in ("finished", "told", "loop", "fault")

    def ends(self, launch: Launch) -> bool:
        """Whether it ended an earlier try of this launch, which then is not to be tried again.

        An agent that began later is another launch, though somebody gave it the same name.
        """
        ended = Moment(self.time, self.boot, self.since_boot)
        return (
            self.is_final and launch.is_elastic and self.launch == launch.id and launch.began.is_before(ended)
        )


class RunEndedError(Exception):
    """A run that ends before its time, and knows why; no fault of its code."""

    def __init__(self, reason: ExitReason) -> None:
        super().__init__(reason.sentence)
        self.reason = reason


def write_exit_reason(folder: Path, reason: ExitReason) -> None:
    """Say in a run folder why it ended."""
    written = replace(reason, **asdict(now()))
    write_json(folder / FILE, {**asdict(written), "exit_code": written.code})


def read_exit_reason(folder: Path) -> ExitReason | None:
    """What an earlier start left; none when it did not come to an end of its own, or nothing can be read of it."""
    reason = dataclass_from(ExitReason, read_table(folder / FILE))
    return reason if reason is not None and reason.reason in CODE_OF_REASON else None
