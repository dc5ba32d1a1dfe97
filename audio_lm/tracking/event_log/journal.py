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
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from audio_lm.common import files
from audio_lm.common.files import seal
from audio_lm.tracking.event_log.names import finite_values

ENTRIES = "tracking.jsonl"
VALUES = "metrics.jsonl"
RECIPE = "recipe"  # key of the run of a whole recipe; that of a stage is its folder, stages/<name>
DROPPED = "tracking/dropped_points"

log = logging.getLogger(__name__)


WriteGuard = Callable[[], AbstractContextManager[bool]]
"""Whether the folder belongs to this process, which it does until the context is left."""

NEEDS: dict[str, tuple[str, ...]] = {
    "open": ("journal",),
    "params": ("params",),
    "tags": ("tags",),
    "artifact": ("path", "folder"),
    "table": ("path",),
    "inputs": ("inputs",),
    "end": ("status",),
}
"""What an entry of each kind has, beside its run and its time."""


def no_guard() -> AbstractContextManager[bool]:
    """Nobody else writes there."""
    return nullcontext(True)


class Point(NamedTuple):
    """One value on a curve."""

    name: str
    value: float
    time_ms: int
    step: int


class EventLine(NamedTuple):
    """A line that was read, and where it ends."""

    record: dict[str, Any]
    end: int  # offset in bytes


class JsonlWriter:
    """A file that tables are appended to, one a line; never raises into whoever writes."""

    def __init__(self, path: Path, *, resume: bool = True, write_guard: WriteGuard = no_guard) -> None:
        """Open the file, which begins empty or with complete lines.

        Args:
            resume: go on with what lies there; otherwise begin anew.
            writing: whether the file belongs to this process; nothing is changed when it does not.

        Raises:
            OSError: it cannot be opened.
        """
        self.path = path
        self.write_guard = write_guard
        self.num_dropped = 0
        self._end_if_torn: int | None = None
        with write_guard() as is_ours:
            if is_ours and not resume:
                path.unlink(missing_ok=True)
            if is_ours:
                _cut_torn_line(path)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self.file_number = os.open(path, flags, 0o644)

    def append(self, record: Mapping[str, object]) -> bool:
        """Add a line, unless the file is another process's; False where it did not fit, which is told once."""
        line = json.dumps(seal(record)).encode("ascii") + b"\n"
        try:
            with self.write_guard() as is_ours:
                if is_ours:
                    self._write(line)
        except OSError as error:
            if not self.num_dropped:
                log.warning(
                    "tracking: %s cannot be written (%s); training goes on, what does not fit is counted and dropped",
                    self.path, error.strerror,
                )  # fmt: skip
            self.num_dropped += 1
            return False
        return True

    def sync(self) -> None:
        """Return when all lines are on the disk, or cannot be brought there."""
        try:
            os.fsync(self.file_number)
        except OSError as error:
            log.warning("tracking: %s cannot be synced (%s)", self.path, error.strerror)

    def _write(self, line: bytes) -> None:
        self._mend()
        self._end_if_torn = os.fstat(self.file_number).st_size
        if os.write(self.file_number, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._end_if_torn = None

    def _mend(self) -> None:
        """Take away what a failed write left of its line."""
        if self._end_if_torn is not None:
            os.ftruncate(self.file_number, self._end_if_torn)


class MetricsWriter:
    """The curves of one run.

    A restart repeats the steps after its checkpoint; what an earlier attempt
    already wrote of them is not written twice, so that curves have no zigzag.
    """

    def __init__(
        self, path: Path, *, journal_id: str, resume: bool, write_guard: WriteGuard = no_guard
    ) -> None:
        """Open ``metrics.jsonl``.

        Args:
            journal_id: of the run; the first line names it, so that values never reach another run.
            resume: go on with what lies there; otherwise begin anew.
            writing: see ``JsonlWriter``.

        Raises:
            OSError: it cannot be opened.
        """
        self._lines = JsonlWriter(path, resume=resume, write_guard=write_guard)
        self._first: dict[str, float] = {}
        self._last: dict[str, int] = {}
        self._behind_damage: set[tuple[str, int]] = set()
        if not self._read(path, journal_id):
            self._lines.append({"time": now_ms(), "step": 0, "values": {}, "journal": journal_id})
        self._strange: set[str] = set()
        self.num_dropped = 0

    def write(self, values: Mapping[str, object], step: int) -> None:
        """Append one line, under safe names and with finite values only."""
        told, strange = finite_values(values)
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

    def sync(self) -> None:
        """Return when all points are on the disk."""
        self._lines.sync()

    def _read(self, path: Path, journal_id: str) -> bool:
        """Learn what an earlier attempt wrote; whether it names its run.

        Behind a damaged line every point is remembered, so that those it held are written again when they come.
        """
        has_head = is_damaged = False
        for line in files.read_lines(path):
            if line.record is None or not _is_values(line.record):
                is_damaged = True
                continue
            has_head |= line.record.get("journal") == journal_id
            for point in points_of(line.record):
                if is_damaged and point.step > 0:
                    self._behind_damage.add((point.name, point.step))
                else:
                    self._note(point.name, point.step, point.value)
        return has_head

    def _note(self, name: str, step: int, value: float) -> None:
        if step <= 0:
            self._first[name] = value
        else:
            self._last[name] = max(step, self._last.get(name, 0))

    def _is_repeated(self, name: str, value: float, step: int) -> bool:
        if step > 0:
            return step <= self._last.get(name, 0) or (name, step) in self._behind_damage
        # Of a curve step 0 is the first step; of a name that has no other it is a summary, which may become another.
        return name in self._first and (name in self._last or value == self._first[name])

    def _complain(self, strange: list[str]) -> None:
        new = sorted(set(strange) - self._strange)
        if new:
            log.warning("tracking: %s is no number and not drawn as a curve", ", ".join(map(repr, new)))
        self._strange |= set(new)


class Journal:
    """What a recipe's run wants to have told, apart from values: runs, settings, files, ends; in order."""

    def __init__(self, folder: Path, *, resume: bool, write_guard: WriteGuard = no_guard) -> None:
        """Open ``tracking.jsonl``, and hold it for as long as this process lives.

        Args:
            writing: see ``JsonlWriter``; also for the values of its runs.

        Raises:
            OSError: it cannot be opened.
        """
        self.write_guard = write_guard
        path = folder / ENTRIES
        self._journal_ids: dict[str, str] = {}
        self._params: dict[str, dict[str, str]] = {}
        self._lines = JsonlWriter(path, resume=resume, write_guard=write_guard)
        for line in read_events(path):
            self._note(line.record)
        _hold(self._lines.file_number)

    def is_ours(self) -> bool:
        """Whether the folder still belongs to this process."""
        with self.write_guard() as is_ours:
            return is_ours

    def open_run(self, key: str, *, resume: bool, known: str = "", **facts: object) -> str:
        """Have a run opened, or opened again; returns the id it is found by.

        Args:
            known: the id by which its values know it, should its own entry be lost.
        """
        if resume and known:
            self._journal_ids.setdefault(key, known)
        if not resume or key not in self._journal_ids:
            self._params.pop(key, None)
            self._journal_ids[key] = uuid.uuid4().hex
        self.append("open", key, journal=self._journal_ids[key], **facts)
        return self._journal_ids[key]

    def append(self, kind: str, key: str, **content: object) -> None:
        """Add an entry about the run of a key."""
        record = {"kind": kind, "run": key, "time": now_ms(), **content}
        self._note(record)
        self._lines.append(record)

    def changed(self, key: str, params: Mapping[str, str]) -> dict[str, list[str]]:
        """Settings that are not what the run began with: name -> what it was and what it is."""
        before = self._params.get(key, {})
        return {
            name: [before[name], value] for name, value in params.items() if before.get(name, value) != value
        }

    def sync(self) -> None:
        """Return when all entries are on the disk."""
        self._lines.sync()

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


def read_events(path: Path, offset: int = 0) -> Iterator[EventLine]:
    """Entries or values from an offset on, as far as they can be read."""
    for line in files.read_lines(path, offset):
        if line.record is not None and (_is_values(line.record) or _is_entry(line.record)):
            yield EventLine(line.record, line.end)


def head_of(path: Path) -> str:
    """The id of the run that a file of values names; empty where none is named."""
    heads = (
        str(line.record["journal"])
        for line in read_events(path)
        if "values" in line.record and "journal" in line.record
    )
    return next(heads, "")


def is_line_start(path: Path, offset: int) -> bool:
    """Whether a line begins at an offset; another one was reached in a file that has been cut since."""
    if offset == 0:
        return True
    try:
        with path.open("rb") as file:
            file.seek(offset - 1)
            return file.read(1) == b"\n"
    except FileNotFoundError:
        return False


def _is_values(record: Mapping[str, Any]) -> bool:
    values = record.get("values")
    return (
        isinstance(values, dict)
        and all(isinstance(value, int | float) for value in values.values())
        and isinstance(record.get("time"), int)
        and isinstance(record.get("step"), int)
    )


def _is_entry(record: Mapping[str, Any]) -> bool:
    kind = record.get("kind")
    return (
        isinstance(kind, str)
        and isinstance(record.get("run"), str)
        and isinstance(record.get("time"), int)
        and all(key in record for key in NEEDS.get(kind, ()))
    )


def points_of(record: Mapping[str, Any]) -> list[Point]:
    """The points of a line of values."""
    return [Point(name, value, record["time"], record["step"]) for name, value in record["values"].items()]


def has_writer(folder: Path) -> bool:
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
