"""A run that always dies at the same place is not begun again and again.

``attempts.json`` says how far the run was at each start of a launch;
``errors/rank-R.json`` what a rank died of, with the clips it had in hand. The same error
at the same step twice is a fault that will come again; some restarts without a newer
checkpoint are too many, whatever the reason.
"""

import re
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from audio_lm.common.audio_units import Seconds
from audio_lm.common.files import dataclass_from, read_table, write_json
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
MOST_KEPT = 50
MOST_CLIPS = 64
FROZEN = "Frozen"
LOST_PEER = re.compile(
    r"gloo|NCCL|ProcessGroup|[Cc]onnection (reset|closed|refused)|Timed out waiting", re.ASCII
)
PAUSE: Seconds = 0.1


@dataclass(frozen=True)
class RankError:
    """What one rank died of."""

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
        """Whether another try of the same launch died of the same at the same step."""
        return (
            self.launch == other.launch and self.attempt != other.attempt and self._where() == other._where()
        )

    def _where(self) -> tuple[Any, ...]:
        return self.kind, re.sub(r"0x[0-9a-f]+|\d+", "#", self.text), self.stage, self.step

    @property
    def sentence(self) -> str:
        """For who looks on."""
        place = "" if self.step is None else f" in step {self.step} of stage {self.stage!r}"
        return f"rank {self.rank}{place}: {self.kind}: {self.text}"


def begin_attempt(
    folder: Path, launch: Launch, progress: Sequence[int], *, attempt: int, max_restarts: int
) -> None:
    """Note how far the run is as it starts.

    A start that found the words of an orderly end is the first of its kind again.

    Args:
        progress: grows with everything that a later start need not do again.
        attempt: the generation of the start.

    Raises:
        RunEndedError: as many starts of this launch came no further.
    """
    known = _attempts_in(folder)
    is_first = read_exit_reason(folder) is not None
    now = {
        "attempt": attempt,
        "launch": launch.id,
        "is_first": is_first,
        "progress": [*progress],
        "time": time.time(),
    }
    write_json(folder / FILE, {"attempts": [*known, now][-MOST_KEPT:]})
    (folder / EXIT_REASON).unlink(missing_ok=True)
    firsts = [
        number for number, one in enumerate(known) if one.get("is_first") or one.get("launch") != launch.id
    ]
    tries = [] if is_first else known[max(firsts, default=0) :]
    same = [one for one in tries if one.get("launch") == launch.id and one.get("progress") == now["progress"]]
    if launch.id and len(same) > max_restarts:
        raise RunEndedError(
            ExitReason(
                "loop",
                f"{folder}: {len(same)} starts came no further than the checkpoint of step {progress[-1]} "
                f"({_last_words(folder, launch)}); mend what ends them, then start the job anew",
                launch.id,
                attempt,
                step=progress[-1],
            )
        )


def num_restarts(folder: Path) -> int:
    """How often the run was begun again, by whomever."""
    return max(0, len(_attempts_in(folder)) - 1)


def last_attempt(folder: Path) -> int:
    """The number of the last start that was noted."""
    return max((int(one.get("attempt", 0)) for one in _attempts_in(folder)), default=0)


def _attempts_in(folder: Path) -> list[dict[str, Any]]:
    attempts = read_table(folder / FILE).get("attempts", ())
    return [one for one in attempts if isinstance(one, dict)] if isinstance(attempts, list) else []


def check_not_ended(folder: Path, launch: Launch) -> None:
    """Refuse to begin again what an earlier try of this launch has ended for good.

    Raises:
        RunEndedError: with the words of that end.
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
    """What this rank dies of."""
    return RankError(
        rank=rank,
        kind=type(error).__name__,
        text=(str(error).splitlines() or [""])[0],
        stage=stage,
        step=step,
        clip_ids=tuple(clip_ids[:MOST_CLIPS]),
        launch=launch.id,
        attempt=attempt,
        time=time.time(),
        trace="".join(traceback.format_exception(error)),
    )


def put_error(folder: Path, error: RankError, *, is_repeatable: bool = True) -> bool:
    """Write down what a rank dies of; the second time of the same also ends the launch.

    Args:
        is_repeatable: whether the same at the same step says that it will come again.

    Returns:
        Whether it has ended the launch.
    """
    end = repeated_fault(error, errors_in(folder)) if is_repeatable else None
    if end is not None:  # first, for others look for it when they see the error
        write_exit_reason(folder, end)
    (folder / ERRORS).mkdir(parents=True, exist_ok=True)
    write_json(folder / ERRORS / f"rank-{error.rank}.json", asdict(error))
    return end is not None


def errors_in(folder: Path) -> list[RankError]:
    """What ranks died of, the first one first; the last error of each rank is kept."""
    found = [read_table(path) for path in (folder / ERRORS).glob("rank-*.json")]
    read = [dataclass_from(RankError, {**one, "clip_ids": tuple(one.get("clip_ids", ()))}) for one in found]
    return sorted((error for error in read if error is not None), key=lambda error: error.time)


def first_error(folder: Path, attempt: int, *, but: int, wait: Seconds = 0.0) -> RankError | None:
    """What another rank died of in this try, waiting a moment for it to be written."""
    until = time.monotonic() + wait
    while True:
        for error in errors_in(folder):
            if error.attempt == attempt and error.rank != but:
                return error
        if time.monotonic() >= until:
            return None
        time.sleep(PAUSE)


def is_lost_peer(error: BaseException) -> bool:
    """Whether it only says that another rank is gone."""
    return isinstance(error, RuntimeError) and LOST_PEER.search(str(error)) is not None


def repeated_fault(error: RankError, before: Sequence[RankError]) -> ExitReason | None:
    """The end of a launch that has died of the same twice; none when it may be tried again."""
    if not error.launch or not any(error.is_same_fault(other) for other in before):
        return None
    clips = f"; it had the clips {', '.join(error.clip_ids)}" if error.clip_ids else ""
    return ExitReason(
        "fault",
        f"{error.sentence}{clips}. It was the same at the last try, so there is none after it; "
        f"mend it, then start the job anew",
        error.launch,
        error.attempt,
        rank=error.rank,
        stage=error.stage,
        step=error.step,
    )


def _last_words(folder: Path, launch: Launch) -> str:
    said = [error.sentence for error in errors_in(folder) if error.launch == launch.id]
    return f"last: {said[-1]}" if said else "nothing was said, so they were killed"
