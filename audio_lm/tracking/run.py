"""The runs of a recipe: a parent for the recipe, a child for each stage, never deeper.

``RunLogger`` is what Lightning writes into. It stands beside the stock
``MLFlowLogger`` rather than on it, because nothing of that one could stay: its
store is refused by MLflow 3, it cuts parameters, drops characters of names,
stalls for minutes when the server is away, and dies of a changed parameter.
"""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lightning.pytorch.loggers.logger import Logger

from audio_lm.errors import UserError
from audio_lm.runtime import is_main
from audio_lm.tracking.config import TrackingConfig
from audio_lm.tracking.outbox import Outbox
from audio_lm.tracking.provenance import provenance, without_password
from audio_lm.tracking.record import Record, Status, log, status_after, status_of_lightning
from audio_lm.tracking.store import (
    TRACKING_ERRORS,
    Store,
    database_path,
    is_refusal,
    read_run_ids,
    tracking_uri,
    write_run_ids,
)
from audio_lm.units import Seconds

PARENT_TAG = "mlflow.parentRunId"
PATIENCE: Seconds = 120.0  # with a store that answers but is slow


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
        store: Store,
        *,
        name: str,
        folder: Path,
        outbox: Outbox | None,
        resume: bool,
        tags: Mapping[str, str],
    ) -> None:
        """See ``open_recipe_run``."""
        self._name = name
        self._tags = dict(tags)
        self._resume = resume
        self._ids_path = folder / "mlflow.txt"
        self._logger_of_stage: dict[str, RunLogger] = {}
        self._is_over = False
        self._run_ids = read_run_ids(self._ids_path, store.uri) if resume else {}
        super().__init__(
            folder=folder,
            outbox=outbox,
            store=store,
            resume=resume,
            open_run=lambda: self._open_as("recipe", folder.name, {**self._tags, "kind": "recipe"}, resume),
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
            is_resumed = self._resume if resume is None else resume
            key = f"stages/{name}"
            logger = RunLogger(
                folder=self.folder / "stages" / name,
                outbox=self._outbox,
                store=self._store,
                resume=is_resumed,
                open_run=lambda: self._open_as(key, name, self._stage_tags(name), is_resumed),
            )
            if params:
                logger.log_params(params)
            self._logger_of_stage[name] = logger
        return self._logger_of_stage[name]

    def wait(self, seconds: Seconds = PATIENCE) -> bool:
        """Wait until all is with the store, or the store fails; True when all is."""
        return self._outbox is None or self._outbox.drain(seconds)

    def finish(self, status: Status = "FINISHED") -> None:
        """Close the runs that are still open and send what is left; later calls do nothing."""
        if self._is_over or self._outbox is None:
            return
        self._is_over = True
        for logger in self._logger_of_stage.values():
            if logger.status is None:
                logger.close(status)
        self.close(status)
        num_left = self._outbox.close(PATIENCE)
        if num_left:
            log.warning(
                "tracking: %d things did not reach %s; they are in %s", num_left, self.where, self.folder
            )

    @property
    def where(self) -> str:
        """Where a person finds the run: a link, or the command that shows it."""
        uri = without_password(self._store.uri)
        if database_path(uri) is not None:
            return f"mlflow ui --backend-store-uri {uri}"
        link = f"{uri}/#/experiments"
        if self.run_id is not None:
            link += f"/{self._store.experiment_id}/runs/{self.run_id}"
        # Without this the page of MLflow 3 opens in its mode for language-model applications.
        return f"{link}?workflowType=machine_learning"

    def _stage_tags(self, name: str) -> dict[str, str]:
        # The parent's letter was posted first, so its id is known when this is called.
        parent = {} if self.run_id is None else {PARENT_TAG: self.run_id}
        return {**self._tags, **parent, "kind": "stage", "recipe": self._name, "stage": name}

    def _open_as(self, key: str, run_name: str, tags: Mapping[str, str], resume: bool) -> str:
        """Open a run and note its id; called from the outbox's thread."""
        known_id = self._run_ids.get(key) if resume else None
        run_id = self._store.open_run(known_id, name=run_name, tags=tags)
        self._run_ids[key] = run_id
        write_run_ids(self._ids_path, self._store.uri, self._run_ids)
        return run_id


def open_recipe_run(
    config: TrackingConfig,
    *,
    name: str,
    folder: Path,
    recipe_yaml: str,
    params: Mapping[str, object],
    resume: bool = False,
    patience: Seconds = 30.0,
) -> RecipeRun:
    """Open the parent run of a recipe and write down what is known before training.

    Args:
        config: which store.
        name: of the recipe; the experiment, unless the configuration names one.
        folder: of the run; its last part is the run's name.
        recipe_yaml: the composed recipe, kept as ``recipe.yaml``.
        params: the same as a nested table.
        resume: go on with the runs named in the folder's ``mlflow.txt``.
        patience: how long to wait for the store before training begins without it.

    Raises:
        UserError: the folder cannot be written, or MLflow takes no such URI.
    """
    store = Store(tracking_uri(config.uri), config.experiment or name)
    if not is_main():
        return RecipeRun(store, name=name, folder=folder, outbox=None, resume=resume, tags={})
    origin = provenance()
    outbox = Outbox(receiver=without_password(store.uri), errors=TRACKING_ERRORS, is_refusal=is_refusal)
    try:
        run = RecipeRun(store, name=name, folder=folder, outbox=outbox, resume=resume, tags=origin.tags)
    except OSError as error:
        outbox.close(0)
        raise UserError(
            f"run folder {folder}: {error.strerror}; expected a folder that can be written; choose another"
        ) from error
    run.log_params(params)
    run.log_text(recipe_yaml, "recipe.yaml")
    for path, text in origin.file_of_path.items():
        run.log_text(text, path)
    run.wait(patience)
    return run
