"""Append-only event log of a run on disk: ``tracking.jsonl`` for events, ``metrics.jsonl`` for metrics.

The training process writes only here; another process sends the log to MLflow. After a store outage, a killed
process or a lost store, the log is sent again: MLflow ignores data that it already has. On a full disk, lines that do
not fit are counted and dropped; training continues.
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
RECIPE = "recipe"  # key of the run of a recipe; the key of a stage is its folder, stages/<name>
DROPPED = "tracking/dropped_points"

log = logging.getLogger(__name__)


WriteGuard = Callable[[], AbstractContextManager[bool]]
"""Context that yields True if this process owns the run's folder; the ownership lasts until the context exits."""

NEEDS: dict[str, tuple[str, ...]] = {
    "open": ("journal",),
    "params": ("params",),
    "settings": ("settings",),
    "tags": ("tags",),
    "artifact": ("path", "folder"),
    "table": ("path",),
    "inputs": ("inputs",),
    "end": ("status",),
}
"""Kind of event -> its required fields besides ``run`` and ``time``."""


def no_guard() -> AbstractContextManager[bool]:
    """Guard of a folder that no other process writes to."""
    return nullcontext(True)


class Point(NamedTuple):
    """Value of a metric at a step."""

    name: str
    value: float
    time_ms: int
    step: int


class EventLine(NamedTuple):
    """Line of the event log, event or metrics, and its end."""

    record: dict[str, Any]
    end: int  # offset in bytes


class JsonlWriter:
    """Append-only writer of JSON Lines; writing never raises."""

    def __init__(self, path: Path, *, resume: bool = True, write_guard: WriteGuard = no_guard) -> None:
        """Open the file; an incomplete last line is removed.

        Args:
            resume: append to an existing file; otherwise start a new one.
            write_guard: checks that this process owns the file; if not, nothing is written.

        Raises:
            OSError: the file cannot be opened.
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
        """Append a line, unless another process owns the file; False if writing failed, which is logged once."""
        line = json.dumps(seal(record)).encode("ascii") + b"\n"
        try:
            with self.write_guard() as is_ours:
                if is_ours:
                    self._write(line)
        except OSError as error:
            if not self.num_dropped:
                log.warning(
                    "tracking: %s cannot be written (%s); training continues, lines that do not fit are counted and dropped",
                    self.path, error.strerror,
                )  # fmt: skip
            self.num_dropped += 1
            return False
        return True

    def sync(self) -> None:
        """Sync all lines to disk; a failure is logged."""
        try:
            os.fsync(self.file_number)
        except OSError as error:
            log.warning("tracking: %s cannot be synced (%s)", self.path, error.strerror)

    def _write(self, line: bytes) -> None:
        self._remove_torn_line()
        self._end_if_torn = os.fstat(self.file_number).st_size
        if os.write(self.file_number, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._end_if_torn = None

    def _remove_torn_line(self) -> None:
        """Truncate the incomplete line of a failed write."""
        if self._end_if_torn is not None:
            os.ftruncate(self.file_number, self._end_if_torn)


class MetricsWriter:
    """Writer of the metrics of one run.

    A restart repeats the steps after its checkpoint. Steps that an earlier attempt has
    logged are not logged again, so that curves do not zigzag.
    """

    def __init__(
        self, path: Path, *, journal_id: str, resume: bool, write_guard: WriteGuard = no_guard
    ) -> None:
        """Open ``metrics.jsonl``.

        Args:
            journal_id: id of the run; the first line names it, so that metrics never reach another run.
            resume: append to an existing file; otherwise start a new one.
            write_guard: see ``JsonlWriter``.

        Raises:
            OSError: the file cannot be opened.
        """
        self._lines = JsonlWriter(path, resume=resume, write_guard=write_guard)
        self._first: dict[str, float] = {}
        self._last: dict[str, int] = {}
        self._after_damage: set[tuple[str, int]] = set()
        if not self._read(path, journal_id):
            self._lines.append({"time": now_ms(), "step": 0, "values": {}, "journal": journal_id})
        self._reported: set[str] = set()
        self.num_dropped = 0

    def write(self, values: Mapping[str, object], step: int) -> None:
        """Append one line with safe names and finite values; repeated points are dropped."""
        numbers, invalid = finite_values(values)
        self._report_invalid(invalid)
        kept = {name: value for name, value in numbers.items() if not self._is_repeated(name, value, step)}
        if not kept:
            return
        dropped = {DROPPED: float(self.num_dropped)} if self.num_dropped else {}
        if not self._lines.append({"time": now_ms(), "step": step, "values": kept | dropped}):
            self.num_dropped += len(kept)
        # Step 0 has summaries, such as final scores; they are logged again if they change.
        for name, value in kept.items() if step <= 0 else ():
            self._note(name, step, value)

    def sync(self) -> None:
        """Sync all points to disk."""
        self._lines.sync()

    @property
    def summaries(self) -> dict[str, float]:
        """Values at step 0 of the metrics that are not curves, of earlier attempts too."""
        return {name: value for name, value in self._first.items() if name not in self._last}

    def _read(self, path: Path, journal_id: str) -> bool:
        """Read the points of an earlier attempt; True if the file names this run.

        After a damaged line, points are remembered one by one, so that only those lost with it are logged again.
        """
        has_head = is_damaged = False
        for line in files.read_lines(path):
            if line.record is None or not _is_values(line.record):
                is_damaged = True
                continue
            has_head |= line.record.get("journal") == journal_id
            for point in points_of(line.record):
                if is_damaged and point.step > 0:
                    self._after_damage.add((point.name, point.step))
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
            return step <= self._last.get(name, 0) or (name, step) in self._after_damage
        # In a curve, step 0 is its first step; a name without other steps is a summary, whose value may change.
        return name in self._first and (name in self._last or value == self._first[name])

    def _report_invalid(self, names: list[str]) -> None:
        new = sorted(set(names) - self._reported)
        if new:
            log.warning(
                "tracking: %s is not a number and is not logged as a metric", ", ".join(map(repr, new))
            )
        self._reported |= set(new)


class Journal:
    """Events of a recipe's runs in order, except metrics: runs opened, parameters, files, final statuses."""

    def __init__(self, folder: Path, *, resume: bool, write_guard: WriteGuard = no_guard) -> None:
        """Open ``tracking.jsonl`` and lock it for the lifetime of this process.

        Args:
            write_guard: see ``JsonlWriter``; also used for the metrics of its runs.

        Raises:
            OSError: the file cannot be opened.
        """
        self.write_guard = write_guard
        path = folder / ENTRIES
        self._journal_ids: dict[str, str] = {}
        self._settings: dict[str, dict[str, str]] = {}
        self._lines = JsonlWriter(path, resume=resume, write_guard=write_guard)
        for line in read_events(path):
            self._note(line.record)
        _lock(self._lines.file_number)

    def is_ours(self) -> bool:
        """True if this process still owns the folder."""
        with self.write_guard() as is_ours:
            return is_ours

    def open_run(self, key: str, *, resume: bool, known: str = "", **facts: object) -> str:
        """Log that a run is opened or reopened; returns its journal id.

        Args:
            known: journal id in the run's metrics file, in case its own event is lost.
        """
        if resume and known:
            self._journal_ids.setdefault(key, known)
        if not resume or key not in self._journal_ids:
            self._settings.pop(key, None)
            self._journal_ids[key] = uuid.uuid4().hex
        self.append("open", key, journal=self._journal_ids[key], **facts)
        return self._journal_ids[key]

    def append(self, kind: str, key: str, **content: object) -> None:
        """Append an event of the run ``key``."""
        record = {"kind": kind, "run": key, "time": now_ms(), **content}
        self._note(record)
        self._lines.append(record)

    def changed_settings(self, key: str, settings: Mapping[str, str]) -> dict[str, list[str]]:
        """Parameters and settings that differ from those the run started with: name -> old and new value."""
        before = self._settings.get(key, {})
        return {
            name: [before[name], value]
            for name, value in settings.items()
            if before.get(name, value) != value
        }

    def sync(self) -> None:
        """Sync all events to disk."""
        self._lines.sync()

    @property
    def num_dropped(self) -> int:
        """Number of events dropped because the disk was full."""
        return self._lines.num_dropped

    def _note(self, record: Mapping[str, Any]) -> None:
        key = record["run"]
        if record["kind"] == "open" and record["journal"] != self._journal_ids.get(key):
            self._journal_ids[key] = record["journal"]
            self._settings.pop(key, None)
        elif record["kind"] in ("params", "settings"):
            self._settings[key] = {**record[record["kind"]], **self._settings.get(key, {})}


def read_events(path: Path, offset: int = 0) -> Iterator[EventLine]:
    """Yield the valid lines of an event or metrics file from an offset on."""
    for line in files.read_lines(path, offset):
        if line.record is not None and (_is_values(line.record) or _is_entry(line.record)):
            yield EventLine(line.record, line.end)


def head_of(path: Path) -> str:
    """Journal id in the first line of a metrics file; empty if there is none."""
    heads = (
        str(line.record["journal"])
        for line in read_events(path)
        if "values" in line.record and "journal" in line.record
    )
    return next(heads, "")


def is_line_start(path: Path, offset: int) -> bool:
    """True if a line starts at an offset; false after the file was truncated and rewritten."""
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
    """Points of a line of metrics."""
    return [Point(name, value, record["time"], record["step"]) for name, value in record["values"].items()]


def has_writer(folder: Path) -> bool:
    """True if a live process has the journal of a run open for writing."""
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
    """Current time in milliseconds since the epoch, as in MLflow."""
    return time.time_ns() // 1_000_000


def _lock(file_number: int) -> None:
    """Lock a file until this process ends, with a POSIX lock: forked DataLoader workers do not inherit it."""
    for _ in range(10):
        try:
            fcntl.lockf(file_number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(0.02)  # another process is testing the lock
        else:
            return
    log.warning("tracking: the journal is locked by another process, or its file system has no locks")


def _cut_torn_line(path: Path) -> None:
    """Remove an incomplete last line, left by a killed process."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)
