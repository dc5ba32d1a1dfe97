"""Incremental sync of a run's event log to MLflow, from the offset that the last attempt reached.

Sending is idempotent: points have their own timestamps, runs are found by their journal id, only new parameters are
sent, and files overwrite themselves. So the offset is saved after sending, and a crash only repeats some work.
"""

import logging
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from audio_lm.common.protocols import Condition, Report
from audio_lm.tracking.event_log.journal import (
    ENTRIES,
    RECIPE,
    VALUES,
    EventLine,
    Point,
    has_writer,
    head_of,
    is_line_start,
    now_ms,
    points_of,
    read_events,
)
from audio_lm.tracking.event_log.provenance import InputCutSet
from audio_lm.tracking.mlflow.state import RunSyncState, SyncState, read_sync_state
from audio_lm.tracking.mlflow.store import (
    TRACKING_ERRORS,
    MlflowStore,
    error_summary,
    is_forbidden,
    is_refusal,
)

PARENT_TAG = "mlflow.parentRunId"
LINES_PER_BATCH = 500
MAX_ATTEMPTS = 4  # per file; then it is deferred to the end and the events after it are sent
DEFERRABLE = ("artifact", "table", "inputs")


log = logging.getLogger(__name__)


class MlflowSync:
    """Sync of the event log of a recipe's run to an MLflow store.

    Args:
        folder: folder of the recipe's run.
        uri: tracking URI of the store.
        notify: called with messages for the user.
        is_late: returns True if the sync must stop, even if data is left.
    """

    def __init__(self, folder: Path, uri: str, notify: Report, *, is_late: Condition = lambda: False) -> None:
        self.folder = folder
        self.uri = uri
        self.notify = notify
        self.is_late = is_late
        self.state = read_sync_state(folder, uri)
        self.num_points = 0
        self.num_entries = 0
        self._store: MlflowStore | None = None
        self._is_verified = False
        self._attempts: dict[int, int] = {}
        self._refused: set[str] = set()

    def send_new(self) -> None:
        """Send all new events and metrics.

        Raises:
            TRACKING_ERRORS: the store is unreachable; the offset reached is saved.
        """
        first = self._first_open()
        if first is None:
            return
        if first["journal"] != self.state.journal:
            self._reset(first["journal"])
        self._store = self._store or MlflowStore(self.uri, first["experiment"])
        if not self._is_verified:
            self._verify_runs()
        if not is_line_start(self.folder / ENTRIES, self.state.num_bytes):
            self.state.num_bytes = 0
        for line in read_events(self.folder / ENTRIES, self.state.num_bytes):
            self._send_entry(line)
            self.state.num_bytes = line.end
            self.state.write(self.folder)
        for key in self.state.runs:
            self._send_values(key)

    def _first_open(self) -> dict[str, Any] | None:
        """First event that opens the recipe's run; None if it is absent or damaged."""
        for line in read_events(self.folder / ENTRIES):
            if line.record.get("kind") == "open" and line.record["run"] == RECIPE:
                return line.record if "experiment" in line.record else None
        return None

    def send_deferred(self) -> None:
        """Send deferred files again.

        Raises:
            TRACKING_ERRORS: the store is unreachable.
        """
        deferred = set(self.state.left)
        for line in read_events(self.folder / ENTRIES) if deferred else ():
            if line.end in deferred:
                self._send(line.record)
                self.state.left.remove(line.end)
                self.state.write(self.folder)

    def end_dead_runs(self) -> None:
        """Set the status of open runs to KILLED if no live process writes to their journal.

        Raises:
            TRACKING_ERRORS: the store is unreachable.
        """
        if has_writer(self.folder):
            return
        for run in self._open_runs():
            self._opened_store.close_run(run.run_id, "KILLED", now_ms())
            run.is_over = True
        self.state.write(self.folder)

    def _reset(self, journal: str) -> None:
        """Start from an empty state for a new journal."""
        self.state = SyncState(self.state.uri, journal)
        self._is_verified = False

    def _verify_runs(self) -> None:
        """Check that the store still has its runs (else send all again), and reopen runs that continue."""
        if not all(self._opened_store.run_exists(run.run_id) for run in self.state.runs.values()):
            self._reset(self.state.journal)
        for run in self._open_runs():
            self._opened_store.reopen_run(run.run_id)
        self._is_verified = True

    @property
    def _opened_store(self) -> MlflowStore:
        assert self._store is not None, "send_new opens the store first"
        return self._store

    def _check_time(self) -> None:
        if self.is_late():
            raise TimeoutError("the time for sending is over")

    def _open_runs(self) -> list[RunSyncState]:
        return [run for run in self.state.runs.values() if not run.is_over]

    def _send_entry(self, line: EventLine) -> None:
        record = line.record
        self._check_time()
        try:
            self._send(record)
        except TRACKING_ERRORS as error:
            attempts = self._attempts[line.end] = self._attempts.get(line.end, 0) + 1
            if record["kind"] not in DEFERRABLE or attempts < MAX_ATTEMPTS:
                raise
            self.notify(
                f"{_subject(record)} cannot be sent now ({error_summary(error)}); it is sent again at the end"
            )
            self.state.left.append(line.end)

    def _send(self, record: dict[str, Any]) -> None:
        """Send an event; one that the store refuses is reported once and skipped."""
        key = record["run"]
        if record["kind"] == "open":
            self._open(key, record)
        elif key in self.state.runs:
            if record["kind"] == "end":
                self._send_values(key)
                self.state.runs[key].is_over = True
            try:
                self._send_to(self.state.runs[key].run_id, record)
            except TRACKING_ERRORS as error:
                # Who may write runs need not be allowed to write the tags of their experiment.
                is_refused = is_refusal(error) or (record["kind"] == "view" and is_forbidden(error))
                if not is_refused:
                    raise
                self._refuse(_subject(record), error)
        self.num_entries += 1

    def _open(self, key: str, record: dict[str, Any]) -> None:
        if key != RECIPE and RECIPE not in self.state.runs and (first := self._first_open()):
            self._open(RECIPE, first)  # the event that opened it later is damaged
        run = self.state.runs.get(key)
        is_same = run is not None and run.journal == record["journal"]
        parent = {} if key == RECIPE else {PARENT_TAG: self.state.runs[RECIPE].run_id}
        run_id = self._opened_store.open_run(
            run.run_id if run is not None and is_same else None,
            journal=record["journal"],
            name=record.get("name", key),
            tags={**record.get("tags", {}), **parent},
            time_ms=record["time"],
        )
        if run is None or not is_same or run.run_id != run_id:
            run = self.state.runs[key] = RunSyncState(record["journal"], run_id)
        run.is_over = False
        self.state.experiment_id = self._opened_store.experiment_id
        self.state.write_run_ids(self.folder)

    def _send_to(self, run_id: str, record: dict[str, Any]) -> None:
        store = self._opened_store
        match record["kind"]:
            case "params":
                store.log_params(run_id, record["params"])
            case "tags":
                store.set_tags(run_id, record["tags"])
            case "artifact":
                store.log_artifact(run_id, self.folder / record["path"], record["folder"])
            case "view":
                store.update_view()
            case "table":
                store.mark_table(run_id, record["path"])
            case "inputs":
                store.log_inputs(run_id, [_input_cut_set(item) for item in record["inputs"]])
            case "end":
                store.close_run(run_id, record["status"], record["time"])

    def _send_values(self, key: str) -> None:
        run = self.state.runs[key]
        path = (self.folder if key == RECIPE else self.folder / key) / VALUES
        if head_of(path) != run.journal:
            return  # metrics of a newer attempt, whose event follows
        if not is_line_start(path, run.num_bytes):
            run.num_bytes = 0
        for lines in _batches(read_events(path, run.num_bytes)):
            self._check_time()
            points = [point for line in lines if "values" in line.record for point in points_of(line.record)]
            self._send_points(run.run_id, points)
            run.num_bytes = lines[-1].end
            self.state.write(self.folder)
            self.num_points += len(points)

    def _send_points(self, run_id: str, points: list[Point]) -> None:
        """Send points; if the store refuses some, send all others, by bisection."""
        if not points:
            return
        try:
            self._opened_store.log_points(run_id, points)
        except TRACKING_ERRORS as error:
            if not is_refusal(error):
                raise
            if len(points) == 1:
                self._refuse(f"a value of {points[0].name!r}", error)
                return
            half = len(points) // 2
            self._send_points(run_id, points[:half])
            self._send_points(run_id, points[half:])

    def _refuse(self, subject: str, error: Exception) -> None:
        if subject not in self._refused:
            self.notify(f"{self.state.uri} refused {subject} ({error_summary(error)})")
        self._refused.add(subject)


def _batches(lines: Iterator[EventLine]) -> Iterator[list[EventLine]]:
    while batch := list(islice(lines, LINES_PER_BATCH)):
        yield batch


def _subject(record: dict[str, Any]) -> str:
    return str(record["path"]) if "path" in record else f"the {record['kind']} of {record['run']}"


def _input_cut_set(record: dict[str, Any]) -> InputCutSet:
    return InputCutSet(**{**record, "path": Path(record["path"])})
