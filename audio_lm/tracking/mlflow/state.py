"""State of the sync: ``tracking.sent``, and ``mlflow.txt`` with run ids for users and other programs.

The sync process writes it. Losing it only costs time: everything is sent again, and
the store ignores duplicates.
"""

import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path

from audio_lm.common.files import read_table, write_json, write_text
from audio_lm.common.secrets import without_password
from audio_lm.tracking.event_log.journal import ENTRIES, RECIPE, VALUES

SENT = "tracking.sent"
RUN_IDS = "mlflow.txt"
URI_KEY = "tracking_uri"

log = logging.getLogger(__name__)


@dataclass
class RunSyncState:
    """Sync state of one MLflow run."""

    journal: str
    """Journal id of the run."""

    run_id: str
    """MLflow run id."""

    num_bytes: int = 0
    """Offset reached in its metrics file."""

    is_over: bool = False
    """True if its end was the last event sent."""


@dataclass
class SyncState:
    """Sync state of a recipe's run in one store."""

    uri: str
    """Tracking URI without password."""

    journal: str = ""
    """Journal id of the recipe's run; the state is void for another id."""

    experiment_id: str | None = None
    """MLflow experiment id."""

    num_bytes: int = 0
    """Offset reached in the journal."""

    runs: dict[str, RunSyncState] = field(default_factory=dict)
    """Run key -> its state."""

    left: list[int] = field(default_factory=list)
    """Offsets in the journal of deferred files: end of their events."""

    def write(self, folder: Path) -> None:
        """Save the state; after a failure, such as a full disk, some data is sent again later."""
        try:
            write_json(folder / SENT, asdict(self), indent=None, is_synced=False)
        except OSError as error:
            log.warning("tracking: %s cannot be written (%s)", SENT, error.strerror)

    def write_run_ids(self, folder: Path) -> None:
        """Write ``mlflow.txt``: the store, then one run per line."""
        lines = [f"{URI_KEY}: {self.uri}", *(f"{key}: {run.run_id}" for key, run in self.runs.items())]
        try:
            write_text(folder / RUN_IDS, "\n".join(lines) + "\n")
        except OSError as error:
            log.warning("tracking: %s cannot be written (%s)", RUN_IDS, error.strerror)


def read_sync_state(folder: Path, uri: str) -> SyncState:
    """Sync state for a store; an empty one if the saved state is unreadable or of another store."""
    empty = SyncState(without_password(uri))
    state = _read(folder)
    return state if state is not None and state.uri == empty.uri else empty


def run_id_of(folder: Path, key: str, journal: str) -> str | None:
    """MLflow run id of a journal id; None if nothing was sent yet."""
    state = _read(folder)
    run = None if state is None else state.runs.get(key)
    return run.run_id if run is not None and run.journal == journal else None


def _read(folder: Path) -> SyncState | None:
    table = read_table(folder / SENT)
    try:
        runs = {key: RunSyncState(**run) for key, run in table.pop("runs").items()}
        return SyncState(**table, runs=runs)
    except (TypeError, KeyError, AttributeError):
        return None


def num_unsent_bytes(folder: Path, state: SyncState) -> int:
    """Bytes of journal and metrics files that are not sent yet; artifacts do not count."""
    total = max(0, _size(folder / ENTRIES) - state.num_bytes)
    for key, run in state.runs.items():
        path = (folder if key == RECIPE else folder / key) / VALUES
        total += max(0, _size(path) - run.num_bytes)
    return total


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
