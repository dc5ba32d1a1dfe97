"""Files added to the MLflow run of a recipe after it has ended."""

from collections.abc import Sequence
from pathlib import Path

from audio_lm.common.errors import UserError
from audio_lm.common.protocols import Report
from audio_lm.tracking.event_log.journal import ENTRIES, RECIPE, Journal, has_writer
from audio_lm.tracking.mlflow.sync import sync


def attach_files(folder: Path, paths: Sequence[Path], place: str, notify: Report) -> bool:
    """Log files as artifacts of a run; False if they are not in MLflow, with a message.

    Args:
        folder: of the run; one without a journal was never tracked.
        paths: files, which must stay until they are sent.
        place: folder of the run's artifacts.
        notify: called with messages.
    """
    if not (folder / ENTRIES).is_file():
        notify(f"{folder} has no MLflow run; the report is not logged")
        return False
    if has_writer(folder):
        notify(f"{folder} is being trained; the report is not logged in MLflow")
        return False
    journal = Journal(folder, resume=True)
    for path in paths:
        place_of = path.absolute()
        is_ours = place_of.is_relative_to(folder.absolute())
        shown = place_of.relative_to(folder.absolute()) if is_ours else place_of
        journal.append("artifact", RECIPE, path=str(shown), folder=place)
    journal.sync()
    del journal  # closes the file, whose lock would keep others from it
    try:
        sync([folder], notify)
    except UserError as error:
        notify(f"the report is not in MLflow yet: {error}")
        return False
    return True
