"""MLflow runs of a recipe: a parent run for the recipe and a child run for each stage.

``RunLogger`` is the Lightning logger of a stage. It does not extend Lightning's
``MLFlowLogger``, because that one uses a store that MLflow 3 refuses, truncates parameters,
drops characters of names, blocks for minutes if the server is unreachable, and raises
if a parameter changes.
"""

import time
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lightning.pytorch.loggers.logger import Logger

from audio_lm.common.audio_units import Seconds
from audio_lm.common.env import is_main
from audio_lm.common.errors import UserError
from audio_lm.common.secrets import without_password
from audio_lm.tracking.config import TrackingConfig
from audio_lm.tracking.event_log.journal import RECIPE, Journal, WriteGuard, no_guard
from audio_lm.tracking.event_log.provenance import provenance
from audio_lm.tracking.event_log.record import Record, Status, log, status_after, status_of_lightning
from audio_lm.tracking.facts import NOTE_TAG, RunFacts, is_score
from audio_lm.tracking.mlflow.state import RUN_IDS, SENT, num_unsent_bytes, read_sync_state
from audio_lm.tracking.mlflow.supervisor import SyncProcess
from audio_lm.tracking.mlflow.uri import database_path, tracking_uri
from audio_lm.tracking.mlflow.view import runs_address

LOCAL_UI = "http://127.0.0.1:5000"  # where `mlflow ui` listens
PATIENCE: Seconds = 120.0  # for a store that answers slowly
SHORT_PATIENCE: Seconds = 10.0  # for a run that was stopped or failed: the grace period may be short


class RunLogger(Record, Logger):
    """Lightning logger of one stage.

    Folder and names are the same on all ranks. Those of Lightning's MLFlowLogger are not, and
    a trainer that resumes from "last" then hangs (Lightning #19932).
    """

    @property
    def save_dir(self) -> str:
        """Folder of the stage."""
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
        """Log metrics, except Lightning's ``epoch``: a stage counts steps."""
        super().log_metrics({name: value for name, value in metrics.items() if name != "epoch"}, step)

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Log the hyper-parameters that a module saved."""
        self.log_params(vars(params) if isinstance(params, Namespace) else params)

    def finalize(self, status: str) -> None:
        """Set the final status after Lightning's ``failed``, which Ctrl-C is too.

        ``success`` ends nothing: Lightning also reports it where training stops early, and evaluation follows.
        """
        if (final := status_of_lightning(status)) != "FINISHED":
            self.close(final)


class RecipeRun(Record):
    """MLflow run of a recipe; end it with ``finish``, or use it as a context manager."""

    def __init__(
        self,
        uri: str,
        *,
        experiment: str,
        facts: RunFacts,
        folder: Path,
        journal: Journal | None,
        resume: bool,
        tags: Mapping[str, str],
    ) -> None:
        """See ``open_recipe_run``."""
        self._uri = uri
        self._facts = facts
        self._tags = dict(tags)
        self._note_of_run: dict[str, str] = {}
        self._baselines: dict[str, float] = {}
        self._resume = resume
        self._logger_of_stage: dict[str, RunLogger] = {}
        self._sync_process: SyncProcess | None = None
        super().__init__(
            root=folder,
            key=RECIPE,
            journal=journal,
            resume=resume,
            name=facts.run_name(),
            tags={**self._tags, "kind": "recipe", **facts.tags()},
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
        """Open the child run of a stage; a restart continues the same run.

        Args:
            name: as in the recipe; the folder is ``stages/<name>``.
            params: settings of the stage.
            resume: continue the stage's earlier run; None: as the recipe.
        """
        if name not in self._logger_of_stage:
            logger = RunLogger(
                root=self.root,
                key=f"stages/{name}",
                journal=self._journal,
                resume=self._resume if resume is None else resume,
                name=name,
                tags={**self._tags, "kind": "stage", "recipe": self._facts.recipe, "stage": name},
            )
            if params:
                logger.log_params(params)
            self._logger_of_stage[name] = logger
            self.describe()
        return self._logger_of_stage[name]

    def end_stage(self, name: str) -> None:
        """Close the run of a stage that is trained and evaluated."""
        logger = self._logger_of_stage.get(name)
        if logger is not None and logger.status is None:
            logger.close("FINISHED")

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log scores, as ``facts`` names them.

        MLflow's pages offer first what was logged first, so scores of baselines are logged when the run ends, as shares are.
        """
        self._baselines |= {name: value for name, value in metrics.items() if not is_score(name)}
        super().log_metrics({name: value for name, value in metrics.items() if is_score(name)}, step)
        self.describe()
        self._append("view")

    def log_shares(self, stage: str, share_of_task: Mapping[str, float]) -> None:
        """Set the realised shares of a trained stage; they become metrics when the run ends."""
        self._facts = self._facts.with_shares(stage, share_of_task)
        self.describe()

    def describe(self) -> None:
        """Update the descriptions of the run and of its stages."""
        scores = {**self.summaries, **self._baselines}
        self._describe(self, self._facts.recipe_note(scores))
        for name, logger in self._logger_of_stage.items():
            self._describe(logger, self._facts.stage_note(name, scores))

    def _describe(self, run: Record, note: str) -> None:
        if self._note_of_run.get(run.key) != note:
            self._note_of_run[run.key] = note
            run.log_tags({NOTE_TAG: note})

    def sync(self) -> None:
        """Return when everything written so far is on the disk, the runs of the stages included."""
        super().sync()
        for logger in self._logger_of_stage.values():
            logger.sync()

    def send(self) -> None:
        """Start the process that sends the journal to MLflow."""
        if self._journal is not None:
            self._sync_process = SyncProcess(self.root, self._uri)

    def wait(self, seconds: Seconds = PATIENCE) -> bool:
        """Wait until all data is in the store; False after the timeout."""
        until = time.monotonic() + seconds
        while self._journal is not None and self._num_bytes_left() > 0:
            if time.monotonic() > until:
                return False
            time.sleep(0.05)
        return True

    def finish(self, status: Status = "FINISHED") -> None:
        """Close open runs and wait until remaining data is sent; later calls do nothing.

        If another launch has taken over the folder, that launch ends the run.
        """
        if self._sync_process is None or (self._journal is not None and not self._journal.is_ours()):
            return
        for logger in self._logger_of_stage.values():
            if logger.status is None:
                logger.close(status)
        super().log_metrics({**self._baselines, **self._facts.shares()})
        self.close(status)
        self._append("view")  # after the status: the grace period may be short
        process, self._sync_process = self._sync_process, None
        if not process.finish(PATIENCE if status == "FINISHED" else SHORT_PATIENCE):
            log.warning(
                "tracking: some data is not in %s yet; it is kept, `audio-lm track sync %s` sends it",
                without_password(self._uri), self.root,
            )  # fmt: skip
        num_dropped = sum(record.num_dropped for record in (self, *self._logger_of_stage.values()))
        if num_dropped:
            log.warning("tracking: %d points were dropped, since the disk was full", num_dropped)

    @property
    def where(self) -> str:
        """Address of the page of runs with their mixtures and scores, after the command that serves a local store."""
        uri = without_password(self._uri)
        state = read_sync_state(self.root, uri)
        experiment_id = state.experiment_id if state.journal else None
        if database_path(uri) is not None:
            command = f"mlflow ui --backend-store-uri {uri}"
            return command + (f", then {LOCAL_UI}/{runs_address(experiment_id)}" if experiment_id else "")
        page = runs_address(experiment_id) if experiment_id else "#/experiments?workflowType=machine_learning"
        return f"{uri}/{page}"

    def _num_bytes_left(self) -> int:
        return num_unsent_bytes(self.root, read_sync_state(self.root, self._uri))


def open_recipe_run(
    config: TrackingConfig,
    *,
    facts: RunFacts,
    folder: Path,
    recipe_yaml: str,
    settings: Mapping[str, object],
    resume: bool = False,
    write_guard: WriteGuard = no_guard,
) -> RecipeRun:
    """Open the parent run of a recipe; logs parameters, the recipe and provenance.

    Args:
        config: store and experiment.
        facts: what people see of the run; the recipe is also the experiment, unless ``config`` names one.
        folder: folder of the run.
        recipe_yaml: composed recipe, logged as ``recipe.yaml``.
        settings: the recipe as a nested table, to find what changes when the run resumes.
        resume: continue the runs of the folder's journal.
        write_guard: see ``Journal``.

    Raises:
        UserError: the folder cannot be written, or MLflow does not support the URI.
    """
    uri, experiment = tracking_uri(config.uri), config.experiment or facts.recipe
    if not is_main():
        return RecipeRun(
            uri, experiment=experiment, facts=facts, folder=folder, journal=None, resume=resume, tags={}
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
            facts=facts,
            folder=folder,
            journal=Journal(folder, resume=resume, write_guard=write_guard),
            resume=resume,
            tags=origin.tags,
        )
    except OSError as error:
        raise UserError(
            f"run folder {folder}: {error.strerror}; expected a folder that can be written; choose another"
        ) from error
    run.log_settings(settings)
    run.log_params(facts.all_params())
    run.describe()
    run.log_text(recipe_yaml, "recipe.yaml")
    for path, text in origin.file_of_path.items():
        run.log_text(text, path)
    run.send()
    return run
