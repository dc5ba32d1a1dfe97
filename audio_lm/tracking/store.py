"""MLflow itself: which store, which experiment, which run, and what is sent to it.

Everything here talks to the store at once and may raise ``TRACKING_ERRORS``;
``record`` calls it from the outbox's thread. Nothing else imports mlflow.
"""

import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from audio_lm.errors import UserError
from audio_lm.tracking.journal import MAX_NAME_LENGTH, Point, safe_name
from audio_lm.tracking.provenance import Manifest, without_password

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read once, while mlflow is imported

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import ERROR_CODE_TO_HTTP_STATUS, MlflowException

DEFAULT_URI = "sqlite:///mlflow.db"
SCHEMES = ("sqlite", "postgresql", "mysql", "mssql", "http", "https", "databricks")
PARAMS_PER_BATCH = 100  # limits of mlflow 3: mlflow/utils/validation.py
METRICS_PER_BATCH = 1000
MAX_PARAM_LENGTH = 6000
MAX_TAG_LENGTH = 8000
MAX_DIGEST_LENGTH = 36
TABLES_TAG = "mlflow.loggedArtifacts"

# The errors of `requests` are OSErrors.
TRACKING_ERRORS: tuple[type[Exception], ...] = (MlflowException, OSError, SQLAlchemyError)


def is_refusal(error: Exception) -> bool:
    """Whether the store understood and said no, so that asking again is pointless."""
    if isinstance(error, MlflowException):
        status = ERROR_CODE_TO_HTTP_STATUS.get(error.error_code, 500)
        return 400 <= status < 500 and status not in (408, 429)
    return isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError)


def tracking_uri(configured: str | None) -> str:
    """Where runs are kept, absolute: the environment first, then the recipe, then a file where we stand.

    Raises:
        UserError: MLflow would not take the URI.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or configured or DEFAULT_URI
    scheme = uri.partition(":")[0].partition("+")[0]
    if scheme not in SCHEMES:
        raise UserError(
            f"tracking URI {uri!r}: MLflow 3 keeps no runs there; expected a database or a server; "
            "write sqlite:///PATH/mlflow.db or http://HOST:PORT in tracking.uri or MLFLOW_TRACKING_URI"
        )
    path = database_path(uri)
    return uri if path is None else f"sqlite:///{path}"


def database_path(uri: str) -> Path | None:
    """The file of an SQLite store.

    >>> database_path("sqlite:////a/mlflow.db"), database_path("http://host")
    (PosixPath('/a/mlflow.db'), None)
    """
    return Path.cwd() / uri.removeprefix("sqlite:///") if uri.startswith("sqlite:///") else None


def be_brief_about_failures() -> None:
    """Let mlflow fail at once and print nothing; the outbox waits and tries again.

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
            path.parent.mkdir(parents=True, exist_ok=True)
            if not os.access(path if path.exists() else path.parent, os.W_OK):
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

    def open_run(self, known_id: str | None, *, name: str, tags: Mapping[str, str]) -> str:
        """The id of a running run: the known one where it still exists, else a new one."""
        tags = {key: value[:MAX_TAG_LENGTH] for key, value in tags.items()}
        if known_id is not None and self._is_there(known_id):
            self.client.update_run(known_id, status="RUNNING")
            self.client.log_batch(known_id, tags=[RunTag(key, value) for key, value in tags.items()])
            return known_id
        return str(self.client.create_run(self.experiment_id, tags=tags, run_name=name).info.run_id)

    def close_run(self, run_id: str, status: str) -> None:
        """Set the final status and the time."""
        self.client.set_terminated(run_id, status)

    def log_points(self, run_id: str, points: Sequence[Point]) -> None:
        """Add to curves; points that are there already stay as they are."""
        for start in range(0, len(points), METRICS_PER_BATCH):
            batch = points[start : start + METRICS_PER_BATCH]
            self.client.log_batch(run_id, metrics=[Metric(*point) for point in batch])

    def log_params(self, run_id: str, params: Mapping[str, object]) -> dict[str, list[str]]:
        """Record parameters that are new.

        A parameter of MLflow never changes. One that differs from what the run
        began with is told as the tag ``resume.changed``.

        Returns:
            name -> what it was and what it is.
        """
        asked = {name: value[:MAX_PARAM_LENGTH] for name, value in flattened(params).items()}
        there = self.client.get_run(run_id).data.params
        new = [Param(name, value) for name, value in asked.items() if name not in there]
        for start in range(0, len(new), PARAMS_PER_BATCH):
            self.client.log_batch(run_id, params=new[start : start + PARAMS_PER_BATCH])
        changed = {
            name: [there[name], value] for name, value in asked.items() if there.get(name, value) != value
        }
        if changed:
            self.client.set_tag(run_id, "resume.changed", ", ".join(sorted(changed))[:MAX_TAG_LENGTH])
        return changed

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

    def _is_there(self, run_id: str) -> bool:
        try:
            run = self.client.get_run(run_id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise
        return bool(run.info.lifecycle_stage == "active")

    def _artifacts(self, experiment: str) -> str | None:
        path = database_path(self.uri)
        if path is None:
            return None
        return str(path.parent / "mlartifacts" / re.sub(r"[^A-Za-z0-9_./-]", "_", experiment))


def flattened(params: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """A nested table as dotted names and text.

    >>> flattened({"optimizer": {"lr": 1e-4}, "stages": ["chat"]})
    {'optimizer.lr': '0.0001', 'stages': "['chat']"}
    """
    flat: dict[str, str] = {}
    for key, value in params.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat |= flattened(value, f"{name}.")
        else:
            flat[safe_name(name)[:MAX_NAME_LENGTH]] = str(value)
    return flat


def read_run_ids(path: Path, uri: str) -> dict[str, str]:
    """The runs an earlier start opened in this store, from ``mlflow.txt``."""
    if not path.exists():
        return {}
    pairs = (line.split(": ", 1) for line in path.read_text(encoding="utf-8").splitlines() if ": " in line)
    value_of_key = {key: value.strip() for key, value in pairs}
    if value_of_key.pop("tracking_uri", None) != without_password(uri):
        return {}
    return value_of_key


def write_run_ids(path: Path, uri: str, run_ids: Mapping[str, str]) -> None:
    """Write ``mlflow.txt``: the store, then one run a line."""
    lines = [f"tracking_uri: {without_password(uri)}", *(f"{key}: {value}" for key, value in run_ids.items())]
    beside = path.with_suffix(".new")
    beside.write_text("\n".join(lines) + "\n", encoding="utf-8")
    beside.replace(path)


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
