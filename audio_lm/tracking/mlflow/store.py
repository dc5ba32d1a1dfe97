"""Calls to MLflow: experiments, runs, metrics, parameters, artifacts.

All functions call the store directly and may raise ``TRACKING_ERRORS``. ``client`` calls them, in the sync process.
No other module imports mlflow.
"""

import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy.exc import SQLAlchemyError

from audio_lm.common import compat
from audio_lm.common.secrets import mask_secrets
from audio_lm.tracking.event_log.journal import Point, now_ms
from audio_lm.tracking.event_log.provenance import InputCutSet
from audio_lm.tracking.facts import NOTE_TAG, TASKS_TAG
from audio_lm.tracking.mlflow.uri import database_path
from audio_lm.tracking.mlflow.view import (
    MAX_RUNS,
    NOTE_START,
    VIEW_TAG,
    RunColumns,
    columns_of,
    experiment_note,
    task_of_benchmark,
    view_of,
)

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read once, while mlflow is imported

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import ERROR_CODE_TO_HTTP_STATUS, MlflowException

PARAMS_PER_BATCH = 100  # limits of mlflow 3: mlflow/utils/validation.py
METRICS_PER_BATCH = 1000
TAGS_PER_BATCH = 100
MAX_DIGEST_LENGTH = 36
JOURNAL_TAG = "audio_lm.journal"
TABLES_TAG = "mlflow.loggedArtifacts"

# Exceptions of `requests` are OSErrors.
TRACKING_ERRORS: tuple[type[Exception], ...] = (MlflowException, OSError, SQLAlchemyError)


def is_refusal(error: Exception) -> bool:
    """True if the store refused a request for good, so that a retry is useless."""
    if isinstance(error, MlflowException):
        status = ERROR_CODE_TO_HTTP_STATUS.get(error.error_code, 500)
        # 401 and 403 are retried: a password may be corrected, a token renewed.
        return 400 <= status < 500 and status not in (401, 403, 408, 429)
    return isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError)


def is_forbidden(error: Exception) -> bool:
    """True if the store did not accept the user for a request."""
    return isinstance(error, MlflowException) and ERROR_CODE_TO_HTTP_STATUS.get(error.error_code) in (
        401,
        403,
    )


def error_summary(error: Exception) -> str:
    """Class and start of an error's message, in one line for a log.

    >>> error_summary(OSError("no route to http://me:secret@host"))
    'OSError: no route to http://host'
    """
    line = (str(error).splitlines() or [""])[0].partition(" failed with exception HTTP")[0]
    return f"{type(error).__name__}: {mask_secrets(line)[:200]}"


def create_database(path: Path) -> None:
    """Create an SQLite store if it does not exist: complete in a temporary folder, then moved.

    MLflow creates its tables in place, where another process may find them incomplete.
    Of several processes that start at once, one moves its file first and the others use it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        return
    with TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as temporary:
        new = Path(temporary) / path.name
        client = MlflowClient(f"sqlite:///{new}")
        client.search_experiments(max_results=1)
        compat.close_database(client)
        try:
            os.link(new, path)
        except FileExistsError:
            logging.getLogger(__name__).debug("another process created the store first")
        except OSError:  # a file system without hard links
            if not path.exists():
                new.rename(path)


def fail_fast() -> None:
    """Configure mlflow to fail fast and to print nothing; ``worker`` retries.

    By default a call blocks for 246 s if the server is unreachable.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    # URLs on stdout would interrupt progress bars.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.ERROR)


class MlflowStore:
    """Runs of one experiment in an MLflow store, opened at first use."""

    def __init__(self, uri: str, experiment: str) -> None:
        self.uri = uri
        self.experiment = experiment

    @cached_property
    def client(self) -> MlflowClient:
        """MLflow client; creates the SQLite file and its tables if needed."""
        fail_fast()
        path = database_path(self.uri)
        if path is not None:
            create_database(path)
            if not os.access(path, os.W_OK):
                # Without this check mlflow retries for 90 s.
                raise PermissionError(f"cannot write {path}")
        return MlflowClient(self.uri)

    @cached_property
    def experiment_id(self) -> str:
        """Id of the experiment, which is created if needed.

        The name of a deleted experiment cannot be used again; then a number is appended.
        """
        name = self.experiment
        number = 1
        while (found := self.client.get_experiment_by_name(name)) is not None:
            if found.lifecycle_stage == "active":
                return str(found.experiment_id)
            number += 1
            name = f"{self.experiment}-{number}"
        try:
            return str(self.client.create_experiment(name, artifact_location=self._artifacts(name)))
        except MlflowException:
            # Another process may have created it in the meantime.
            if (found := self.client.get_experiment_by_name(name)) is None:
                raise
            return str(found.experiment_id)

    def open_run(
        self, known_id: str | None, *, journal: str, name: str, tags: Mapping[str, str], time_ms: int
    ) -> str:
        """Open a run and return its id: the known run, else the one with this journal id, else a new one."""
        tags = {**tags, JOURNAL_TAG: journal}
        run_id = known_id or self._find_run(journal)
        if run_id is None:
            run = self.client.create_run(self.experiment_id, start_time=time_ms, tags=tags, run_name=name)
            return str(run.info.run_id)
        self.reopen_run(run_id)
        self.set_tags(run_id, tags)
        return run_id

    def reopen_run(self, run_id: str) -> None:
        """Set the status of a run back to RUNNING."""
        self.client.update_run(run_id, status="RUNNING")

    def close_run(self, run_id: str, status: str, time_ms: int) -> None:
        """Set the final status and end time of a run."""
        self.client.set_terminated(run_id, status, time_ms)

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a run."""
        all_tags = [RunTag(key, value) for key, value in tags.items()]
        for start in range(0, len(all_tags), TAGS_PER_BATCH):
            self.client.log_batch(run_id, tags=all_tags[start : start + TAGS_PER_BATCH])

    def log_points(self, run_id: str, points: Sequence[Point]) -> None:
        """Log points; MLflow ignores those that it already has."""
        for start in range(0, len(points), METRICS_PER_BATCH):
            batch = points[start : start + METRICS_PER_BATCH]
            self.client.log_batch(run_id, metrics=[Metric(*point) for point in batch])

    def log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        """Log parameters that are new; MLflow parameters are immutable."""
        existing = self.client.get_run(run_id).data.params
        new = [Param(name, value) for name, value in params.items() if name not in existing]
        for start in range(0, len(new), PARAMS_PER_BATCH):
            self.client.log_batch(run_id, params=new[start : start + PARAMS_PER_BATCH])

    def log_artifact(self, run_id: str, path: Path, folder: str | None) -> None:
        """Copy a file or folder to the run's artifacts."""
        self.client.log_artifact(run_id, str(path), folder)

    def mark_table(self, run_id: str, path: str) -> None:
        """Tag an artifact so that MLflow's web page shows it as a table."""
        tables = json.loads(self.client.get_run(run_id).data.tags.get(TABLES_TAG, "[]"))
        entry = {"path": path, "type": "table"}
        if entry not in tables:
            self.client.set_tag(run_id, TABLES_TAG, json.dumps([*tables, entry]))

    def log_inputs(self, run_id: str, cut_sets: Sequence[InputCutSet]) -> None:
        """Log the cut-sets of a run as dataset inputs; the data itself is not read."""
        self.client.log_inputs(run_id, datasets=[_dataset_input(cut_set) for cut_set in cut_sets])

    def update_view(self) -> None:
        """Update the columns that MLflow's page of runs shows for this experiment; describe it if nobody has."""
        found = self.client.search_runs(
            [self.experiment_id],
            "tags.kind = 'recipe'",
            max_results=MAX_RUNS,
            order_by=["attributes.start_time DESC"],
        )
        # Runs of earlier releases have all settings as parameters.
        runs = [
            RunColumns(
                str(run.info.run_name),
                run.data.params,
                run.data.metrics,
                task_of_benchmark(run.data.tags[TASKS_TAG]),
            )
            for run in found
            if TASKS_TAG in run.data.tags
        ]
        if not (columns := columns_of(runs)):
            return
        experiment_id = self.experiment_id
        self.client.set_experiment_tag(experiment_id, VIEW_TAG, view_of(columns, time_ms=now_ms()))
        if self.client.get_experiment(experiment_id).tags.get(NOTE_TAG, NOTE_START).startswith(NOTE_START):
            note = experiment_note(experiment_id, columns, runs)
            self.client.set_experiment_tag(experiment_id, NOTE_TAG, note)

    def run_exists(self, run_id: str) -> bool:
        """True if the store has a run that is not deleted."""
        try:
            run = self.client.get_run(run_id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise
        return bool(run.info.lifecycle_stage == "active")

    def _find_run(self, journal: str) -> str | None:
        """Id of a run that an earlier process created but was killed before saving the id."""
        runs = self.client.search_runs(
            [self.experiment_id], f"tags.`{JOURNAL_TAG}` = '{journal}'", max_results=1
        )
        return str(runs[0].info.run_id) if runs else None

    def _artifacts(self, experiment: str) -> str | None:
        path = database_path(self.uri)
        if path is None:
            return None
        names = [re.sub(r"[^A-Za-z0-9_.-]", "_", name) for name in experiment.split("/")]
        return str(path.parent.joinpath("mlartifacts", *(name for name in names if name.strip("."))))


def _dataset_input(cut_set: InputCutSet) -> DatasetInput:
    facts = {"num_cuts": cut_set.num_cuts, "hours": round(cut_set.hours, 4)}
    dataset = Dataset(
        name=cut_set.name,
        digest=cut_set.digest[:MAX_DIGEST_LENGTH],
        source_type="local",
        source=json.dumps({"uri": str(cut_set.path)}),
        profile=json.dumps(facts),
    )
    tags = {"mlflow.data.context": cut_set.context, **{key: str(value) for key, value in facts.items()}}
    return DatasetInput(dataset=dataset, tags=[InputTag(key, value) for key, value in tags.items()])
