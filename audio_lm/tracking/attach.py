"""Files and scores added to the MLflow run of a recipe after it has ended."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from audio_lm.common.errors import UserError
from audio_lm.common.protocols import Report
from audio_lm.tracking.event_log.journal import (
    ENTRIES,
    RECIPE,
    VALUES,
    Journal,
    MetricsWriter,
    has_writer,
    head_of,
)
from audio_lm.tracking.mlflow.sync import sync


def attach(
    folder: Path,
    notify: Report,
    *,
    what: str,
    files: Sequence[Path] = (),
    place: str = "",
    scores: Mapping[str, float] | None = None,
) -> bool:
    """Log files as artifacts, and scores as metrics, of a run; False if they are not in MLflow, with a message.

    Args:
        folder: of the run; one without a journal was never tracked.
        notify: called with messages.
        what: name of the content for messages, such as ``the report``.
        files: files, which must stay until they are sent.
        place: folder of the run's artifacts.
        scores: values by name; they replace those of the same name.
    """
    if not (folder / ENTRIES).is_file():
        notify(f"{folder} has no MLflow run; {what} is not logged")
        return False
    if has_writer(folder):
        notify(f"{folder} is being trained; {what} is not logged in MLflow")
        return False
    journal = Journal(folder, resume=True)
    for path in files:
        place_of = path.absolute()
        is_ours = place_of.is_relative_to(folder.absolute())
        shown = place_of.relative_to(folder.absolute()) if is_ours else place_of
        journal.append("artifact", RECIPE, path=str(shown), folder=place)
    journal.sync()
    if scores and (journal_id := head_of(folder / VALUES)):
        writer = MetricsWriter(folder / VALUES, journal_id=journal_id, resume=True)
        writer.write(scores, step=0)
        writer.sync()
    del journal  # closes the file, whose lock would keep others from it
    try:
        sync([folder], notify)
    except UserError as error:
        notify(f"{what} is not in MLflow yet: {error}")
        return False
    return True
