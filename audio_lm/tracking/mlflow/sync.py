"""``audio-lm track sync``: send the remaining data of runs whose store was unreachable or whose machine failed."""

import os
from collections.abc import Sequence
from pathlib import Path

from audio_lm.common.errors import UserError
from audio_lm.common.protocols import Report
from audio_lm.common.secrets import mask_secrets
from audio_lm.tracking.event_log.journal import ENTRIES, read_events
from audio_lm.tracking.mlflow.client import MlflowSync
from audio_lm.tracking.mlflow.store import TRACKING_ERRORS, error_summary
from audio_lm.tracking.mlflow.uri import VARIABLE, tracking_uri
from audio_lm.tracking.mlflow.worker import SyncLockedError, sync_lock


def sync(folders: Sequence[Path], notify: Report) -> None:
    """Send the unsent data of runs.

    Args:
        folders: folders of runs.
        notify: called with a message about each run.

    Raises:
        UserError: a folder has no run, or a store did not accept everything; raised after all were tried.
    """
    failures = []
    for folder in folders:
        try:
            notify(f"{folder}: {_send(folder, notify)}")
        except UserError as error:
            failures.append(str(error))
    if failures:
        raise UserError("; ".join(failures))


def runs_below(folder: Path) -> list[Path]:
    """Folders of the runs in a folder.

    Raises:
        UserError: there are none.
    """
    runs = sorted(path.parent for path in folder.glob(f"*/{ENTRIES}"))
    if not runs:
        raise UserError(f"{folder} has no run with a {ENTRIES}; name a folder of runs, such as runs")
    return runs


def _send(folder: Path, notify: Report) -> str:
    """Send the unsent data of a run; returns a message about it."""
    uri = _uri(folder)
    mlflow_sync = MlflowSync(folder, uri, lambda line: notify(f"{folder}: {line}"))
    try:
        with sync_lock(folder):
            mlflow_sync.send_new()
            mlflow_sync.send_deferred()
            mlflow_sync.end_dead_runs()
    except SyncLockedError:
        return "its sync process is sending it now"
    except TRACKING_ERRORS as error:
        raise UserError(
            f"{folder}: {mask_secrets(uri)} received {mlflow_sync.num_points} points and then failed ({error_summary(error)}); "
            f"the rest is kept, run this again when the store is reachable"
        ) from error
    if not mlflow_sync.num_points and not mlflow_sync.num_entries:
        return f"{mask_secrets(uri)} has everything"
    counts = f"{mlflow_sync.num_points} points and {mlflow_sync.num_entries} other events"
    return f"sent {counts} to {mask_secrets(uri)}; it has everything"


def _uri(folder: Path) -> str:
    """Tracking URI from the environment, else the one in the run's last event."""
    stores = [line.record["store"] for line in read_events(folder / ENTRIES) if "store" in line.record]
    if not stores:
        raise UserError(f"{folder} has no {ENTRIES}, so there is no data to send; name the folder of a run")
    return tracking_uri(os.environ.get(VARIABLE) or stores[-1])
