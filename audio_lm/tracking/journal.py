"""What a run wants to have told, on disk first: ``tracking.jsonl`` and, for values, ``metrics.jsonl``.

The journal is the truth and whoever trains touches nothing else. A store that was away, a process that was
killed and a store that was lost are all made good by sending it again, for MLflow ignores what it has already.
A disk that is full costs the lines that did not fit, which are counted; it costs no step.
"""

import errno
import fcntl
import json
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from audio_lm.tracking.names import numbers

ENTRIES = "tracking.jsonl"
VALUES = "metrics.jsonl"
RECIPE = "recipe"  # key of the run of a whole recipe; that of a stage is its folder, stages/<name>
DROPPED = "tracking/dropped_points"

log = logging.getLogger(__name__)


def always() -> bool:
    """Nobody else writes there."""
    return True


class Point(NamedTuple):
    """One value on a curve."""

    name: str
    value: float
    time_ms: int
    step: int


class Line(NamedTuple):
    """A line that was read, and where it ends."""

    record: dict[str, Any]
    end: int  # offset in bytes


class Lines:
    """A file that tables are appended to, one a line; never raises into whoever writes."""

    def __init__(self, path: Path) -> None:
        """Open the file, which begins empty or with whole lines.

        Raises:
            OSError: it cannot be opened.
        """
        self.path = path
        self.num_dropped = 0
        self._end_if_torn: int | None = None
        _cut_torn_line(path)
        self.file_number = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def append(self, record: Mapping[str, object]) -> bool:
        """Add a line; False where it did not fit, which is told once."""
        line = json.dumps(record, default=str).encode("ascii") + b"\n"
        try:
            self._mend()
            self._end_if_torn = os.fstat(self.file_number).st_size
            if os.write(self.file_number, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._end_if_torn = None
        except OSError as error:
            if not self.num_dropped:
                log.warning(
                    "tracking: %s cannot be written (%s); training goes on, what does not fit is counted and dropped",
                    self.path, error.strerror,
                )  # fmt: skip
            self.num_dropped += 1
            return False
        return True

    def _mend(self) -> None:
        """Take away what a failed write left of its line."""
        if self._end_if_torn is not None:
            os.ftruncate(self.file_number, self._end_if_torn)


class Values:
    """The curves of one run.

    A restart repeats the steps after its checkpoint; what an earlier attempt
    already wrote of them is not written twice, so that curves have no zigzag.
    """

    def __init__(self, path: Path, *, journal_id: str, resume: bool) -> None:
        """Open ``metrics.jsonl``.

        Args:
            journal_id: of the run; the first line names it, so that values never reach another run.
            resume: go on with what lies there; otherwise begin anew.

        Raises:
            OSError: it cannot be opened.
        """
        if not resume:
            path.unlink(missing_ok=True)
        self._lines = Lines(path)
        self._last: dict[str, tuple[int, float]] = {}
        for line in read_lines(path):
            for point in points_of(line.record):
                self._note(point.name, point.step, point.value)
        if path.stat().st_size == 0:
            self._lines.append({"time": now_ms(), "step": 0, "values": {}, "journal": journal_id})
        self._strange: set[str] = set()
        self.num_dropped = 0

    def write(self, values: Mapping[str, object], step: int) -> None:
        """Append one line, under safe names and with finite values only."""
        told, strange = numbers(values)
        self._complain(strange)
        kept = {name: value for name, value in told.items() if not self._is_repeated(name, value, step)}
        if not kept:
            return
        missed = {DROPPED: float(self.num_dropped)} if self.num_dropped else {}
        if not self._lines.append({"time": now_ms(), "step": step, "values": kept | missed}):
            self.num_dropped += len(kept)
        # Step 0 holds summaries, such as final scores; they are told again when they are other ones.
        for name, value in kept.items() if step <= 0 else ():
            self._note(name, step, value)

    def _note(self, name: str, step: int, value: float) -> None:
        if name not in self._last or step >= self._last[name][0]:
            self._last[name] = (step, value)

    def _is_repeated(self, name: str, value: float, step: int) -> bool:
        last_step, last_value = self._last.get(name, (-1, 0.0))
        return last_step == step == 0 and value == last_value if step <= 0 else step <= last_step

    def _complain(self, strange: list[str]) -> None:
        new = sorted(set(strange) - self._strange)
        if new:
            log.warning("tracking: %s is no number and not drawn as a curve", ", ".join(map(repr, new)))
        self._strange |= set(new)


class Journal:
    """What a recipe's run wants to have told, apart from values: runs, settings, files, ends; in order."""

    def __init__(self, folder: Path, *, resume: bool, is_ours: Callable[[], bool] = always) -> None:
        """Open ``tracking.jsonl``, and hold it for as long as this process lives.

        Args:
            is_ours: whether the folder still belongs to this process; nothing is added when it does not.

        Raises:
            OSError: it cannot be opened.
        """
        self.is_ours = is_ours
        path = folder / ENTRIES
        if not resume:
            path.unlink(missing_ok=True)
        self._journal_ids: dict[str, str] = {}
        self._params: dict[str, dict[str, str]] = {}
        for line in read_lines(path):
            self._note(line.record)
        self._lines = Lines(path)
        _hold(self._lines.file_number)

    def open_run(self, key: str, *, resume: bool, **facts: object) -> str:
        """Have a run opened, or opened again; returns the id it is found by."""
        if not resume or key not in self._journal_ids:
            self._params.pop(key, None)
            self._journal_ids[key] = uuid.uuid4().hex
        self.append("open", key, journal=self._journal_ids[key], **facts)
        return self._journal_ids[key]

    def append(self, kind: str, key: str, **content: object) -> None:
        """Add an entry about the run of a key."""
        if not self.is_ours():
            return
        record = {"kind": kind, "run": key, "time": now_ms(), **content}
        self._note(record)
        self._lines.append(record)

    def changed(self, key: str, params: Mapping[str, str]) -> dict[str, list[str]]:
        """Settings that are not what the run began with: name -> what it was and what it is."""
        before = self._params.get(key, {})
        return {
            name: [before[name], value] for name, value in params.items() if before.get(name, value) != value
        }

    @property
    def num_dropped(self) -> int:
        """Entries for which the disk had no room."""
        return self._lines.num_dropped

    def _note(self, record: Mapping[str, Any]) -> None:
        key = record["run"]
        if record["kind"] == "open" and record["journal"] != self._journal_ids.get(key):
            self._journal_ids[key] = record["journal"]
            self._params.pop(key, None)
        elif record["kind"] == "params":
            self._params[key] = {**record["params"], **self._params.get(key, {})}


def read_lines(path: Path, offset: int = 0) -> Iterator[Line]:
    """Whole lines from an offset on; a line that is being written at this moment is left for the next time."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(offset)
        for text in file:
            if not text.endswith(b"\n"):
                return
            offset += len(text)
            try:
                record = json.loads(text)
            except ValueError:
                log.warning("tracking: a damaged line of %s, ending at byte %d, is passed over", path, offset)
                continue
            yield Line(record, offset)


def points_of(record: Mapping[str, Any]) -> list[Point]:
    """The points of a line of values."""
    return [Point(name, value, record["time"], record["step"]) for name, value in record["values"].items()]


def is_written(folder: Path) -> bool:
    """Whether a living process holds the journal of a run."""
    try:
        with (folder / ENTRIES).open("rb+") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            return True
        raise
    return False


def now_ms() -> int:
    """The time as MLflow counts it."""
    return time.time_ns() // 1_000_000


def _hold(file_number: int) -> None:
    """Lock a file until this process ends; a lock of POSIX, which forked data workers do not inherit."""
    for _ in range(10):
        try:
            fcntl.lockf(file_number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(0.02)  # somebody is looking whether we are there
        else:
            return
    log.warning("tracking: the journal is held by another process, or its disk keeps no locks")


def _cut_torn_line(path: Path) -> None:
    """Remove the end of a file that a kill left without its newline."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)
