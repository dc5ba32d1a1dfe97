"""Restart limits: a run that fails again and again at the same place is not restarted for ever.

``attempts.json`` records the progress of the run at each start; ``errors/rank-R.json`` the error of a rank, with
the clips of its step. The same error at the same step twice is a permanent fault and ends the launch. So do
several restarts without a newer checkpoint, for whatever reason.
"""

import re
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from audio_lm.common.audio_units import Seconds
from audio_lm.common.files import read_table, record_of, write_json
from audio_lm.fault_tolerance.exit_status import FILE as EXIT_REASON
from audio_lm.fault_tolerance.exit_status import (
    ExitReason,
    RunEndedError,
    read_exit_reason,
    write_exit_reason,
)
from audio_lm.fault_tolerance.launcher_env import Launch

FILE = "attempts.json"
ERRORS = "errors"
MAX_ATTEMPTS = 50  # records in the file
MAX_CLIPS = 64
FROZEN = "Frozen"
LOST_PEER = re.compile(
    r"gloo|NCCL|ProcessGroup|[Cc]onnection (reset|closed|refused)|Timed out waiting", re.ASCII
)
PAUSE: Seconds = 0.1


@dataclass(frozen=True)
class RankError:
    """Error that ended a rank."""

    rank: int
    kind: str
    text: str
    stage: str | None
    step: int | None
    clip_ids: tuple[str, ...]
    launch: str
    attempt: int
    time: float
    trace: str = ""

    def is_same_fault(self, other: "RankError") -> bool:
        """True if another attempt of the same launch ended with the same error at the same step."""
        return (
            self.launch == other.launch
            and self.attempt != other.attempt
            and self._signature() == other._signature()
        )

    def _signature(self) -> tuple[Any, ...]:
        return self.kind, re.sub(r"0x[0-9a-f]+|\d+", "#", self.text), self.stage, self.step

    @property
    def sentence(self) -> str:
        """Error and place, for a person."""
        place = "" if self.step is None else f" in step {self.step} of stage {self.stage!r}"
        return f"rank {self.rank}{place}: {self.kind}: {self.text}"


def begin_attempt(
    folder: Path, launch: Launch, progress: Sequence[int], *, attempt: int, max_restarts: int
) -> None:
    """Record the progress of the run at its start.

    An earlier start that left an exit reason resets the count of restarts.

    Args:
        progress: grows with all work that a later start need not repeat; the last number is the checkpoint's step.
        attempt: the generation of the start.

    Raises:
        RunEndedError: more than ``max_restarts`` starts of this launch had the same progress.
    """
    known = _attempts_in(folder)
    is_first = read_exit_reason(folder) is not None
    current = {
        "attempt": attempt,
        "launch": launch.id,
        "is_first": is_first,
        "progress": [*progress],
        "time": time.time(),
    }
    write_json(folder / FILE, {"attempts": [*known, current][-MAX_ATTEMPTS:]})
    (folder / EXIT_REASON).unlink(missing_ok=True)
    resets = [
        index
        for index, earlier in enumerate(known)
        if earlier.get("is_first") or earlier.get("launch") != launch.id
    ]
    since_reset = [] if is_first else known[max(resets, default=0) :]
    same = [
        earlier
        for earlier in since_reset
        if earlier.get("launch") == launch.id and earlier.get("progress") == current["progress"]
    ]
    if launch.id and len(same) > max_restarts:
        raise RunEndedError(
            ExitReason(
                "loop",
                f"{folder}: {len(same)} starts made no progress beyond the checkpoint of step {progress[-1]} "
                f"({_last_error(folder, launch)}); fix the cause, then start the job again",
                launch.id,
                attempt,
                step=progress[-1],
            )
        )


def num_restarts(folder: Path) -> int:
    """Number of restarts of a run, by any launcher."""
    return max(0, len(_attempts_in(folder)) - 1)


def last_attempt(folder: Path) -> int:
    """Number of the last recorded attempt; 0 if there is none."""
    return max((int(attempt.get("attempt", 0)) for attempt in _attempts_in(folder)), default=0)


def _attempts_in(folder: Path) -> list[dict[str, Any]]:
    attempts = read_table(folder / FILE).get("attempts", ())
    if not isinstance(attempts, list):
        return []
    return [attempt for attempt in attempts if isinstance(attempt, dict)]


def check_not_ended(folder: Path, launch: Launch) -> None:
    """Refuse to restart a run that an earlier attempt of this launch ended for good.

    Raises:
        RunEndedError: with the reason of that end.
    """
    reason = read_exit_reason(folder)
    if reason is not None and reason.ends(launch):
        raise RunEndedError(reason)


def error_of(
    error: BaseException,
    *,
    rank: int,
    stage: str | None,
    step: int | None,
    clip_ids: Sequence[str],
    launch: Launch,
    attempt: int,
) -> RankError:
    """Record of an exception that ends this rank."""
    return RankError(
        rank=rank,
        kind=type(error).__name__,
        text=(str(error).splitlines() or [""])[0],
        stage=stage,
        step=step,
        clip_ids=tuple(clip_ids[:MAX_CLIPS]),
        launch=launch.id,
        attempt=attempt,
        time=time.time(),
        trace="".join(traceback.format_exception(error)),
    )


def put_error(folder: Path, error: RankError, *, is_repeatable: bool = True) -> bool:
    """Write the error that ends a rank; if it is a repeated fault, end the launch.

    Args:
        is_repeatable: false for an error from outside, which another attempt may not meet again.

    Returns:
        True if it ended the launch.
    """
    end = repeated_fault(error, errors_in(folder)) if is_repeatable else None
    if end is not None:  # before the error: other ranks read the exit reason once they see the error
        write_exit_reason(folder, end)
    (folder / ERRORS).mkdir(parents=True, exist_ok=True)
    write_json(folder / ERRORS / f"rank-{error.rank}.json", asdict(error))
    return end is not None


def errors_in(folder: Path) -> list[RankError]:
    """Last error of every rank, in order of time."""
    tables = [read_table(path) for path in (folder / ERRORS).glob("rank-*.json")]
    read = [record_of(RankError, {**table, "clip_ids": tuple(table.get("clip_ids", ()))}) for table in tables]
    return sorted((error for error in read if error is not None), key=lambda error: error.time)


def first_error(folder: Path, attempt: int, *, but: int, wait: Seconds = 0.0) -> RankError | None:
    """First error of an attempt on a rank other than ``but``.

    Args:
        wait: for the file of another rank to appear.
    """
    until = time.monotonic() + wait
    while True:
        for error in errors_in(folder):
            if error.attempt == attempt and error.rank != but:
                return error
        if time.monotonic() >= until:
            return None
        time.sleep(PAUSE)


def is_lost_peer(error: BaseException) -> bool:
    """True if the error means only that another rank is gone."""
    return isinstance(error, RuntimeError) and LOST_PEER.search(str(error)) is not None


def repeated_fault(error: RankError, before: Sequence[RankError]) -> ExitReason | None:
    """Exit reason of a launch that met the same fault twice; None if another attempt is allowed."""
    if not error.launch or not any(error.is_same_fault(other) for other in before):
        return None
    clips = f"; its clips: {', '.join(error.clip_ids)}" if error.clip_ids else ""
    return ExitReason(
        "fault",
        f"{error.sentence}{clips}. The last attempt ended with the same error, so there is no further attempt; "
        f"fix the cause, then start the job again",
        error.launch,
        error.attempt,
        rank=error.rank,
        stage=error.stage,
        step=error.step,
    )


def _last_error(folder: Path, launch: Launch) -> str:
    sentences = [error.sentence for error in errors_in(folder) if error.launch == launch.id]
    return f"last: {sentences[-1]}" if sentences else "no error was recorded, so the processes were killed"
