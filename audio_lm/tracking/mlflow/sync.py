"""``audio-lm track sync``: send what is left of runs whose store was away, or whose machine was lost."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from audio_lm.common.errors import UserError
from audio_lm.common.secrets import mask_secrets
from audio_lm.tracking.event_log.journal import ENTRIES, read_lines
from audio_lm.tracking.mlflow.client import MlflowSync
from audio_lm.tracking.mlflow.store import TRACKING_ERRORS, error_summary
from audio_lm.tracking.mlflow.uri import VARIABLE, tracking_uri
from audio_lm.tracking.mlflow.worker import AlreadySentError, alone

Say = Callable[[str], None]


def sync(folders: Sequence[Path], say: Say) -> None:
    """Send what the store does not have of each run.

    Args:
        folders: of runs.
        say: takes a line about each run.

    Raises:
        UserError: a folder holds no run, or a store did not take everything; said after all were tried.
    """
    failures = []
    for folder in folders:
        try:
            say(f"{folder}: {_sent(folder, say)}")
        except UserError as error:
            failures.append(str(error))
    if failures:
        raise UserError("; ".join(failures))


def runs_below(folder: Path) -> list[Path]:
    """Every run in a folder of runs.

    Raises:
        UserError: there is none.
    """
    found = sorted(path.parent for path in folder.glob(f"*/{ENTRIES}"))
    if not found:
        raise UserError(f"{folder} holds no run with a {ENTRIES}; name a folder of runs, such as runs")
    return found


def _sent(folder: Path, say: Say) -> str:
    """Send a run, and say what was done."""
    uri = _uri(folder)
    delivery = MlflowSync(folder, uri, lambda line: say(f"{folder}: {line}"))
    try:
        with alone(folder):
            delivery.bring()
            delivery.bring_left()
            delivery.end_dead_runs()
    except AlreadySentError:
        return "a process of its own is sending it now"
    except TRACKING_ERRORS as error:
        raise UserError(
            f"{folder}: {mask_secrets(uri)} took {delivery.num_points} points and then did not answer "
            f"({error_summary(error)}); the rest is kept, start again when it is back"
        ) from error
    if not delivery.num_points and not delivery.num_entries:
        return f"{mask_secrets(uri)} has everything"
    sent = f"{delivery.num_points} points and {delivery.num_entries} other entries"
    return f"sent {sent} to {mask_secrets(uri)}; it has everything"


def _uri(folder: Path) -> str:
    """The store a run was last meant for, unless the environment names one."""
    opened = [line.record["store"] for line in read_lines(folder / ENTRIES) if "store" in line.record]
    if not opened:
        raise UserError(f"{folder} holds no {ENTRIES}, so nothing waits there; name a run's folder")
    return tracking_uri(os.environ.get(VARIABLE) or opened[-1])
