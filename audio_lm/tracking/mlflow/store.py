"""MLflow itself: which experiment, which run, and what is sent to it.

Everything here talks to the store at once and may raise ``TRACKING_ERRORS``; ``delivery`` calls it, in the process
that sends. Nothing else imports mlflow.
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

from audio_lm.common.secrets import mask_secrets
from audio_lm.tracking.event_log.journal import Point
from audio_lm.tracking.event_log.provenance import Manifest
from audio_lm.tracking.mlflow.uri import database_path

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

# The errors of `requests` are OSErrors.
TRACKING_ERRORS: tuple[type[Exception], ...] = (MlflowException, OSError, SQLAlchemyError)


def is_refusal(error: Exception) -> bool:
    """Whether the store understood and said no, so that asking again is pointless."""
    if isinstance(error, MlflowException):
        status = ERROR_CODE_TO_HTTP_STATUS.get(error.error_code, 500)
        # Who may not now may later: a password that was corrected, a token that was renewed.
        return 400 <= status < 500 and status not in (401, 403, 408, 429)
    return isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError)


def error_summary(error: Exception) -> str:
    """The kind and the beginning of an error's message, for one line of a log.

    >>> error_summary(OSError("no route to http://me:secret@host"))
    'OSError: no route to http://host'
    """
    line = (str(error).splitlines() or [""])[0].partition(" failed with exception HTTP")[0]
    return f"{type(error).__name__}: {mask_secrets(line)[:200]}"


def create_database(path: Path) -> None:
    """Make an SQLite store that is not there yet: whole and beside its place, then moved.

    MLflow makes its tables in the place itself, where another program finds them half made.
    Of several programs that begin at once one is first, and the others take what it has made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        return
    with TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as beside:
        new = Path(beside) / path.name
        client = MlflowClient(f"sqlite:///{new}")
        client.search_experiments(max_results=1)
        client._tracking_client.store.engine.dispose()
        try:
            os.link(new, path)
        except FileExistsError:
            logging.getLogger(__name__).debug("another program was faster")
        except OSError:  # a disk without links
            if not path.exists():
                new.rename(path)


def be_brief_about_failures() -> None:
    """Let mlflow fail at once and print nothing; ``worker`` waits and tries again.

    Its defaults block a call for 246 s when the server is away.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault(
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true"
    )  # it would break into progress bars
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.ERROR)


class Store:
    """The runs of one experiment in one MLflow store, opened at first use."""

    def __init__(self, uri: str, experiment: str) -> None:
        self.uri = uri
        self.experiment = experiment

    @cached_property
    def client(self) -> MlflowClient:
        """The stock client; making it creates an SQLite file and its tables, once."""
        be_brief_about_failures()
        path = database_path(self.uri)
        if path is not None:
            create_database(path)
            if not os.access(path, os.W_OK):
                # mlflow would try for a minute and a half.
                raise PermissionError(f"cannot write {path}")
        return MlflowClient(self.uri)

    @cached_property
    def experiment_id(self) -> str:
        """Of the experiment, which is created when it is new.

        A deleted experiment keeps its name for itself, so a number is added then.
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
            # Another program may have been faster by a moment.
            if (found := self.client.get_experiment_by_name(name)) is None:
                raise
            return str(found.experiment_id)

    def open_run(
        self, known_id: str | None, *, journal: str, name: str, tags: Mapping[str, str], time_ms: int
    ) -> str:
        """The id of a running run: the known one, else the one that was made for this journal, else a new one."""
        tags = {**tags, JOURNAL_TAG: journal}
        run_id = known_id or self._found(journal)
        if run_id is None:
            run = self.client.create_run(self.experiment_id, start_time=time_ms, tags=tags, run_name=name)
            return str(run.info.run_id)
        self.reopen_run(run_id)
        self.set_tags(run_id, tags)
        return run_id

    def reopen_run(self, run_id: str) -> None:
        """Have it running again."""
        self.client.update_run(run_id, status="RUNNING")

    def close_run(self, run_id: str, status: str, time_ms: int) -> None:
        """Set the final status and the time."""
        self.client.set_terminated(run_id, status, time_ms)

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Add tags or change them."""
        all_tags = [RunTag(key, value) for key, value in tags.items()]
        for start in range(0, len(all_tags), TAGS_PER_BATCH):
            self.client.log_batch(run_id, tags=all_tags[start : start + TAGS_PER_BATCH])

    def log_points(self, run_id: str, points: Sequence[Point]) -> None:
        """Add to curves; points that are there already stay as they are."""
        for start in range(0, len(points), METRICS_PER_BATCH):
            batch = points[start : start + METRICS_PER_BATCH]
            self.client.log_batch(run_id, metrics=[Metric(*point) for point in batch])

    def log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        """Record parameters that are new; one of MLflow never changes."""
        there = self.client.get_run(run_id).data.params
        new = [Param(name, value) for name, value in params.items() if name not in there]
        for start in range(0, len(new), PARAMS_PER_BATCH):
            self.client.log_batch(run_id, params=new[start : start + PARAMS_PER_BATCH])

    def log_artifact(self, run_id: str, path: Path, folder: str | None) -> None:
        """Copy a file or a folder to the run's artifacts."""
        self.client.log_artifact(run_id, str(path), folder)

    def mark_table(self, run_id: str, path: str) -> None:
        """Have the web page show an artifact as a table."""
        tables = json.loads(self.client.get_run(run_id).data.tags.get(TABLES_TAG, "[]"))
        entry = {"path": path, "type": "table"}
        if entry not in tables:
            self.client.set_tag(run_id, TABLES_TAG, json.dumps([*tables, entry]))

    def log_manifests(self, run_id: str, manifests: Sequence[Manifest]) -> None:
        """Note what a run read, without reading it."""
        self.client.log_inputs(run_id, datasets=[_dataset_input(manifest) for manifest in manifests])

    def is_there(self, run_id: str) -> bool:
        """Whether the store has a run, and nobody has deleted it."""
        try:
            run = self.client.get_run(run_id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise
        return bool(run.info.lifecycle_stage == "active")

    def _found(self, journal: str) -> str | None:
        """The run a process made that was killed before it could note the id."""
        found = self.client.search_runs(
            [self.experiment_id], f"tags.`{JOURNAL_TAG}` = '{journal}'", max_results=1
        )
        return str(found[0].info.run_id) if found else None

    def _artifacts(self, experiment: str) -> str | None:
        path = database_path(self.uri)
        if path is None:
            return None
        names = [re.sub(r"[^A-Za-z0-9_.-]", "_", name) for name in experiment.split("/")]
        return str(path.parent.joinpath("mlartifacts", *(name for name in names if name.strip("."))))


def _dataset_input(manifest: Manifest) -> DatasetInput:
    facts = {"num_cuts": manifest.num_cuts, "hours": round(manifest.hours, 4)}
    dataset = Dataset(
        name=manifest.name,
        digest=manifest.digest[:MAX_DIGEST_LENGTH],
        source_type="local",
        source=json.dumps({"uri": str(manifest.path)}),
        profile=json.dumps(facts),
    )
    tags = {"mlflow.data.context": manifest.context, **{key: str(value) for key, value in facts.items()}}
    return DatasetInput(dataset=dataset, tags=[InputTag(key, value) for key, value in tags.items()])
