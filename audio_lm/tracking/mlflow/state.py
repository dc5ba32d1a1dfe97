"""What the store has of a run: ``tracking.sent``, and ``mlflow.txt`` for people and other programs.

Written by whoever sends, read by whoever asks. Losing it costs time and nothing
else: everything is sent again, and the store keeps one of each.
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
    """What the store has of one MLflow run."""

    journal: str
    """The id its journal is known by."""

    run_id: str
    """Of MLflow."""

    num_bytes: int = 0
    """Of its values."""

    is_over: bool = False
    """Whether the last thing told about it is its end."""


@dataclass
class SyncState:
    """What a store has of the run of a recipe."""

    uri: str
    """Of the store, without a password."""

    journal: str = ""
    """The id of the recipe's run: with another one, nothing has been sent."""

    experiment_id: str | None = None
    """Of MLflow."""

    num_bytes: int = 0
    """Of the entries of the journal."""

    runs: dict[str, RunSyncState] = field(default_factory=dict)
    """By key."""

    left: list[int] = field(default_factory=list)
    """Where files end in the journal that the store would not take for now."""

    def write(self, folder: Path) -> None:
        """Keep it; a full disk costs sending some things again, later."""
        try:
            write_json(folder / SENT, asdict(self), indent=None, is_synced=False)
        except OSError as error:
            log.warning("tracking: %s cannot be written (%s)", SENT, error.strerror)

    def write_run_ids(self, folder: Path) -> None:
        """Write ``mlflow.txt``: the store, then one run a line."""
        lines = [f"{URI_KEY}: {self.uri}", *(f"{key}: {run.run_id}" for key, run in self.runs.items())]
        try:
            write_text(folder / RUN_IDS, "\n".join(lines) + "\n")
        except OSError as error:
            log.warning("tracking: %s cannot be written (%s)", RUN_IDS, error.strerror)


def read_sync_state(folder: Path, uri: str) -> SyncState:
    """What this store has; nothing where another one was sent to, or nothing can be read."""
    fresh = SyncState(without_password(uri))
    delivered = _read(folder)
    return delivered if delivered is not None and delivered.uri == fresh.uri else fresh


def run_id_of(folder: Path, key: str, journal: str) -> str | None:
    """The run in MLflow that a journal was sent to; none as long as it was not."""
    delivered = _read(folder)
    run = None if delivered is None else delivered.runs.get(key)
    return run.run_id if run is not None and run.journal == journal else None


def _read(folder: Path) -> SyncState | None:
    kept = read_table(folder / SENT)
    try:
        runs = {key: RunSyncState(**run) for key, run in kept.pop("runs").items()}
        return SyncState(**kept, runs=runs)
    except (TypeError, KeyError, AttributeError):
        return None


def num_unsent_bytes(folder: Path, delivered: SyncState) -> int:
    """Of the journals, what the store does not have yet; lines, not files."""
    total = max(0, _size(folder / ENTRIES) - delivered.num_bytes)
    for key, run in delivered.runs.items():
        path = (folder if key == RECIPE else folder / key) / VALUES
        total += max(0, _size(path) - run.num_bytes)
    return total


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
