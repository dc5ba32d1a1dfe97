"""The runs of a recipe: a parent for the recipe, a child for each stage, never deeper.

``RunLogger`` is what Lightning writes into. It stands beside the stock
``MLFlowLogger`` rather than on it, because nothing of that one could stay: its
store is refused by MLflow 3, it cuts parameters, drops characters of names,
stalls for minutes when the server is away, and dies of a changed parameter.
"""

import time
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lightning.pytorch.loggers.logger import Logger

from audio_lm.common.audio_units import Seconds
from audio_lm.common.errors import UserError
from audio_lm.common.runtime import is_main
from audio_lm.common.secrets import without_password
from audio_lm.tracking.config import TrackingConfig
from audio_lm.tracking.event_log.journal import RECIPE, Journal, Writing, always
from audio_lm.tracking.event_log.provenance import provenance
from audio_lm.tracking.event_log.record import Record, Status, log, status_after, status_of_lightning
from audio_lm.tracking.mlflow.state import RUN_IDS, SENT, num_bytes_left, read_delivered
from audio_lm.tracking.mlflow.supervisor import SendingProcess
from audio_lm.tracking.mlflow.uri import database_path, tracking_uri

PATIENCE: Seconds = 120.0  # with a store that answers but is slow
SHORT_PATIENCE: Seconds = 10.0  # of a run that was stopped or failed: whoever stopped it may not wait long


class RunLogger(Record, Logger):
    """The run of one stage, as Lightning's trainer wants it.

    Folder and names are the same on every rank; the stock logger's are not, and
    a trainer that resumes from "last" then waits for ever (Lightning #19932).
    """

    @property
    def save_dir(self) -> str:
        """The stage's folder."""
        return str(self.folder)

    @property
    def name(self) -> str:
        """Empty, so that Lightning adds nothing to ``save_dir``."""
        return ""

    @property
    def version(self) -> str:
        """Empty, so that Lightning adds nothing to ``save_dir``."""
        return ""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add to the curves, less Lightning's ``epoch``: a stage counts steps."""
        super().log_metrics({name: value for name, value in metrics.items() if name != "epoch"}, step)

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Record what a module saved as its settings."""
        self.log_params(vars(params) if isinstance(params, Namespace) else params)

    def finalize(self, status: str) -> None:
        """Set how the stage ended: Lightning's ``success``, or ``failed``, which Ctrl-C is too."""
        self.close(status_of_lightning(status))


class RecipeRun(Record):
    """The run of a whole recipe; leave it with ``finish`` or as a context manager."""

    def __init__(
        self,
        uri: str,
        *,
        experiment: str,
        name: str,
        folder: Path,
        journal: Journal | None,
        resume: bool,
        tags: Mapping[str, str],
    ) -> None:
        """See ``open_recipe_run``."""
        self._uri = uri
        self._name = name
        self._tags = dict(tags)
        self._resume = resume
        self._logger_of_stage: dict[str, RunLogger] = {}
        self._sending: SendingProcess | None = None
        super().__init__(
            root=folder,
            key=RECIPE,
            journal=journal,
            resume=resume,
            name=folder.name,
            tags={**self._tags, "kind": "recipe"},
            facts={"store": without_password(uri), "experiment": experiment},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.finish(status_after(error))

    def stage(
        self, name: str, *, params: Mapping[str, object] | None = None, resume: bool | None = None
    ) -> RunLogger:
        """The child run of a stage, the same one after a restart.

        Args:
            name: as in the recipe; the folder is ``stages/<name>``.
            params: the stage's own settings.
            resume: go on with the stage's earlier run; as the recipe, unless given.
        """
        if name not in self._logger_of_stage:
            logger = RunLogger(
                root=self.root,
                key=f"stages/{name}",
                journal=self._journal,
                resume=self._resume if resume is None else resume,
                name=name,
                tags={**self._tags, "kind": "stage", "recipe": self._name, "stage": name},
            )
            if params:
                logger.log_params(params)
            self._logger_of_stage[name] = logger
        return self._logger_of_stage[name]

    def end_stage(self, name: str) -> None:
        """Close the run of a stage that is done, where one was opened again for what came behind its training."""
        logger = self._logger_of_stage.get(name)
        if logger is not None and logger.status is None:
            logger.close("FINISHED")

    def sync(self) -> None:
        """Return when everything written so far is on the disk, the runs of the stages included."""
        super().sync()
        for logger in self._logger_of_stage.values():
            logger.sync()

    def send(self) -> None:
        """Begin to send what is in the journal, from a process of its own."""
        if self._journal is not None:
            self._sending = SendingProcess(self.root, self._uri)

    def wait(self, seconds: Seconds = PATIENCE) -> bool:
        """Wait until the store has everything or time is up; True when it has."""
        until = time.monotonic() + seconds
        while self._journal is not None and self._num_bytes_left() > 0:
            if time.monotonic() > until:
                return False
            time.sleep(0.05)
        return True

    def finish(self, status: Status = "FINISHED") -> None:
        """Close the runs that are still open and have sent what is left; later calls do nothing.

        A run that another start has taken over is that start's to end.
        """
        if self._sending is None or (self._journal is not None and not self._journal.is_ours()):
            return
        for logger in self._logger_of_stage.values():
            if logger.status is None:
                logger.close(status)
        self.close(status)
        sending, self._sending = self._sending, None
        if not sending.finish(PATIENCE if status == "FINISHED" else SHORT_PATIENCE):
            log.warning(
                "tracking: not everything has reached %s; it is kept, `audio-lm track sync %s` sends it",
                without_password(self._uri), self.root,
            )  # fmt: skip
        num_dropped = sum(record.num_dropped for record in (self, *self._logger_of_stage.values()))
        if num_dropped:
            log.warning("tracking: %d points were dropped, for the disk had no room", num_dropped)

    @property
    def where(self) -> str:
        """Where a person finds the run: a link, or the command that shows it."""
        uri = without_password(self._uri)
        if database_path(uri) is not None:
            return f"mlflow ui --backend-store-uri {uri}"
        link = f"{uri}/#/experiments"
        delivered = read_delivered(self.root, uri)
        if delivered.journal and delivered.experiment_id and (run := delivered.runs.get(RECIPE)):
            link += f"/{delivered.experiment_id}/runs/{run.run_id}"
        # Without this the page of MLflow 3 opens in its mode for language-model applications.
        return f"{link}?workflowType=machine_learning"

    def _num_bytes_left(self) -> int:
        return num_bytes_left(self.root, read_delivered(self.root, self._uri))


def open_recipe_run(
    config: TrackingConfig,
    *,
    name: str,
    folder: Path,
    recipe_yaml: str,
    params: Mapping[str, object],
    resume: bool = False,
    writing: Writing = always,
) -> RecipeRun:
    """Open the parent run of a recipe and write down what is known before training.

    Args:
        config: which store.
        name: of the recipe; the experiment, unless the configuration names one.
        folder: of the run; its last part is the run's name.
        recipe_yaml: the composed recipe, kept as ``recipe.yaml``.
        params: the same as a nested table.
        resume: go on with the runs of the folder's journal.
        writing: see ``Journal``.

    Raises:
        UserError: the folder cannot be written, or MLflow takes no such URI.
    """
    uri, experiment = tracking_uri(config.uri), config.experiment or name
    if not is_main():
        return RecipeRun(
            uri, experiment=experiment, name=name, folder=folder, journal=None, resume=resume, tags={}
        )
    origin = provenance()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not resume:
            (folder / SENT).unlink(missing_ok=True)
            (folder / RUN_IDS).unlink(missing_ok=True)
        run = RecipeRun(
            uri,
            experiment=experiment,
            name=name,
            folder=folder,
            journal=Journal(folder, resume=resume, writing=writing),
            resume=resume,
            tags=origin.tags,
        )
    except OSError as error:
        raise UserError(
            f"run folder {folder}: {error.strerror}; expected a folder that can be written; choose another"
        ) from error
    run.log_params(params)
    run.log_text(recipe_yaml, "recipe.yaml")
    for path, text in origin.file_of_path.items():
        run.log_text(text, path)
    run.send()
    return run
