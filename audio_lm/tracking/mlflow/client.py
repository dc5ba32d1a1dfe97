"""One run's journals brought to its store: in order, from where the last attempt stopped, any number of times.

Everything that is sent may be sent again: points carry their own time, runs are found by the id of their journal,
settings are sent when they are new, files replace themselves. So the place that was reached is noted afterwards.
"""

import logging
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from audio_lm.tracking.event_log.journal import (
    ENTRIES,
    RECIPE,
    VALUES,
    Line,
    Point,
    head_of,
    is_line_start,
    is_written,
    now_ms,
    points_of,
    read_lines,
)
from audio_lm.tracking.event_log.provenance import Manifest
from audio_lm.tracking.mlflow.state import Delivered, DeliveredRun, read_delivered
from audio_lm.tracking.mlflow.store import TRACKING_ERRORS, Store, error_summary, is_refusal

PARENT_TAG = "mlflow.parentRunId"
LINES_PER_BATCH = 500
MAX_ATTEMPTS = 4  # of a file, before what comes after it is sent; it is tried again at the end
LEAVABLE = ("artifact", "table", "inputs")

Say = Callable[[str], None]

log = logging.getLogger(__name__)


class MlflowSync:
    """Brings the journals of a recipe's run to its store.

    Args:
        folder: of the recipe's run.
        uri: of the store.
        say: takes a line for a person.
        is_late: whether to stop, though something is left.
    """

    def __init__(
        self, folder: Path, uri: str, say: Say, *, is_late: Callable[[], bool] = lambda: False
    ) -> None:
        self.folder = folder
        self.uri = uri
        self.say = say
        self.is_late = is_late
        self.delivered = read_delivered(folder, uri)
        self.num_points = 0
        self.num_entries = 0
        self._store: Store | None = None
        self._has_looked = False
        self._attempts: dict[int, int] = {}
        self._refused: set[str] = set()

    def bring(self) -> None:
        """Send everything that is there now.

        Raises:
            TRACKING_ERRORS: the store is away; what it has is noted.
        """
        first = self._first_open()
        if first is None:
            return
        if first["journal"] != self.delivered.journal:
            self._begin(first["journal"])
        self._store = self._store or Store(self.uri, first["experiment"])
        if not self._has_looked:
            self._look()
        if not is_line_start(self.folder / ENTRIES, self.delivered.num_bytes):
            self.delivered.num_bytes = 0
        for line in read_lines(self.folder / ENTRIES, self.delivered.num_bytes):
            self._bring_entry(line)
            self.delivered.num_bytes = line.end
            self.delivered.write(self.folder)
        for key in self.delivered.runs:
            self._bring_values(key)

    def _first_open(self) -> dict[str, Any] | None:
        """The first entry that opens the recipe's run, as far as the journal can be read."""
        for line in read_lines(self.folder / ENTRIES):
            if line.record.get("kind") == "open" and line.record["run"] == RECIPE:
                return line.record if "experiment" in line.record else None
        return None

    def bring_left(self) -> None:
        """Try files again that the store would not take for now.

        Raises:
            TRACKING_ERRORS: the store is away.
        """
        wanted = set(self.delivered.left)
        for line in read_lines(self.folder / ENTRIES) if wanted else ():
            if line.end in wanted:
                self._send(line.record)
                self.delivered.left.remove(line.end)
                self.delivered.write(self.folder)

    def end_dead_runs(self) -> None:
        """Set the status of runs that nobody writes any more and whose end nobody told.

        Raises:
            TRACKING_ERRORS: the store is away.
        """
        if is_written(self.folder):
            return
        for run in self._open_runs():
            self._at_store.close_run(run.run_id, "KILLED", now_ms())
            run.is_over = True
        self.delivered.write(self.folder)

    def _begin(self, journal: str) -> None:
        """Forget what another journal's runs have."""
        self.delivered = Delivered(self.delivered.uri, journal)
        self._has_looked = False

    def _look(self) -> None:
        """Find out whether the store still has the runs it had, and that those which go on are running."""
        if not all(self._at_store.is_there(run.run_id) for run in self.delivered.runs.values()):
            self._begin(self.delivered.journal)
        for run in self._open_runs():
            self._at_store.reopen_run(run.run_id)
        self._has_looked = True

    @property
    def _at_store(self) -> Store:
        assert self._store is not None, "a pass begins with the store"
        return self._store

    def _look_at_the_clock(self) -> None:
        if self.is_late():
            raise TimeoutError("time is up")

    def _open_runs(self) -> list[DeliveredRun]:
        return [run for run in self.delivered.runs.values() if not run.is_over]

    def _bring_entry(self, line: Line) -> None:
        record = line.record
        self._look_at_the_clock()
        try:
            self._send(record)
        except TRACKING_ERRORS as error:
            attempts = self._attempts[line.end] = self._attempts.get(line.end, 0) + 1
            if record["kind"] not in LEAVABLE or attempts < MAX_ATTEMPTS:
                raise
            self.say(
                f"{_subject(record)} cannot be sent for now ({error_summary(error)}); it is tried again at the end"
            )
            self.delivered.left.append(line.end)

    def _send(self, record: dict[str, Any]) -> None:
        """Send an entry; what the store refuses is told once."""
        key = record["run"]
        if record["kind"] == "open":
            self._open(key, record)
        elif key in self.delivered.runs:
            if record["kind"] == "end":
                self._bring_values(key)
                self.delivered.runs[key].is_over = True
            try:
                self._send_to(self.delivered.runs[key].run_id, record)
            except TRACKING_ERRORS as error:
                if not is_refusal(error):
                    raise
                self._refuse(_subject(record), error)
        self.num_entries += 1

    def _open(self, key: str, record: dict[str, Any]) -> None:
        if key != RECIPE and RECIPE not in self.delivered.runs and (first := self._first_open()):
            self._open(RECIPE, first)  # its own entry, which came before, is damaged
        run = self.delivered.runs.get(key)
        is_same = run is not None and run.journal == record["journal"]
        parent = {} if key == RECIPE else {PARENT_TAG: self.delivered.runs[RECIPE].run_id}
        run_id = self._at_store.open_run(
            run.run_id if run is not None and is_same else None,
            journal=record["journal"],
            name=record.get("name", key),
            tags={**record.get("tags", {}), **parent},
            time_ms=record["time"],
        )
        if run is None or not is_same or run.run_id != run_id:
            run = self.delivered.runs[key] = DeliveredRun(record["journal"], run_id)
        run.is_over = False
        self.delivered.experiment_id = self._at_store.experiment_id
        self.delivered.write_run_ids(self.folder)

    def _send_to(self, run_id: str, record: dict[str, Any]) -> None:
        store = self._at_store
        match record["kind"]:
            case "params":
                store.log_params(run_id, record["params"])
            case "tags":
                store.set_tags(run_id, record["tags"])
            case "artifact":
                store.log_artifact(run_id, self.folder / record["path"], record["folder"])
            case "table":
                store.mark_table(run_id, record["path"])
            case "inputs":
                store.log_manifests(run_id, [_manifest(kept) for kept in record["inputs"]])
            case "end":
                store.close_run(run_id, record["status"], record["time"])

    def _bring_values(self, key: str) -> None:
        run = self.delivered.runs[key]
        path = (self.folder if key == RECIPE else self.folder / key) / VALUES
        if head_of(path) != run.journal:
            return  # those of an attempt that began anew; its entry comes later
        if not is_line_start(path, run.num_bytes):
            run.num_bytes = 0
        for lines in _batches(read_lines(path, run.num_bytes)):
            self._look_at_the_clock()
            points = [point for line in lines if "values" in line.record for point in points_of(line.record)]
            self._send_points(run.run_id, points)
            run.num_bytes = lines[-1].end
            self.delivered.write(self.folder)
            self.num_points += len(points)

    def _send_points(self, run_id: str, points: list[Point]) -> None:
        """Send points; where the store refuses some, all others."""
        if not points:
            return
        try:
            self._at_store.log_points(run_id, points)
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
            self.say(f"{self.delivered.uri} did not take {subject} ({error_summary(error)})")
        self._refused.add(subject)


def _batches(lines: Iterator[Line]) -> Iterator[list[Line]]:
    while batch := list(islice(lines, LINES_PER_BATCH)):
        yield batch


def _subject(record: dict[str, Any]) -> str:
    return str(record["path"]) if "path" in record else f"the {record['kind']} of {record['run']}"


def _manifest(kept: dict[str, Any]) -> Manifest:
    return Manifest(**{**kept, "path": Path(kept["path"])})
