"""Exit status of a run for its launcher: an exit code, and ``exit_reason.json`` in the run folder.

torchrun turns every code except 0 into 1, so a launcher reads the file.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from audio_lm.common.audio_units import Seconds
from audio_lm.common.files import read_table, record_of, write_json
from audio_lm.fault_tolerance.clock import Moment, now
from audio_lm.fault_tolerance.launcher_env import Launch

FINISHED = 0
FAULT = 1
STOPPED_BY_SIGNAL = 75  # EX_TEMPFAIL: start it later. Source: sysexits.h
INTERRUPTED = 130  # Ctrl-C, as in a shell
FILE = "exit_reason.json"
Reason = Literal["finished", "preempted", "interrupted", "loop", "fault", "lost"]
CODE_OF_REASON: dict[Reason, int] = {
    "finished": FINISHED,
    "preempted": STOPPED_BY_SIGNAL,
    "interrupted": INTERRUPTED,
    "loop": FAULT,
    "fault": FAULT,
    "lost": FAULT,
}


@dataclass(frozen=True)
class ExitReason:
    """Reason of a run's end; if it is final, the launch that it names must not restart the run."""

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
        """Exit code of the process."""
        return CODE_OF_REASON[self.reason]

    @property
    def is_final(self) -> bool:
        """True if the launch must not restart its processes."""
        return self.reason in ("finished", "preempted", "loop", "fault")

    def ends(self, launch: Launch) -> bool:
        """True if an earlier attempt of this launch ended for good, so that there must be no other attempt.

        An agent that started later is another launch, even with the same id.
        """
        ended = Moment(self.time, self.boot, self.since_boot)
        return (
            self.is_final
            and launch.is_elastic
            and self.launch == launch.id
            and launch.agent_start.is_before(ended)
        )


class RunEndedError(Exception):
    """A run ends early for a known reason that is no fault of its code."""

    def __init__(self, reason: ExitReason) -> None:
        super().__init__(reason.sentence)
        self.reason = reason


def write_exit_reason(folder: Path, reason: ExitReason) -> None:
    """Write the exit reason into a run folder, with the current time."""
    timed = replace(reason, **asdict(now()))
    write_json(folder / FILE, {**asdict(timed), "exit_code": timed.code})


def read_exit_reason(folder: Path) -> ExitReason | None:
    """Exit reason of an earlier start; None if it left none or the file cannot be read."""
    table = read_table(folder / FILE)
    if table.get("exit_code") == STOPPED_BY_SIGNAL:
        table["reason"] = "preempted"  # earlier releases write another word
    reason = record_of(ExitReason, table)
    return reason if reason is not None and reason.reason in CODE_OF_REASON else None
