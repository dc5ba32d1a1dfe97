"""Tracking URI of the MLflow store, checked without importing MLflow."""

import os
from pathlib import Path

from audio_lm.common.errors import UserError
from audio_lm.common.names import check_path
from audio_lm.common.secrets import mask_secrets
from audio_lm.tracking.config import TrackingConfig

DEFAULT_URI = "sqlite:///mlflow.db"
VARIABLE = "MLFLOW_TRACKING_URI"
SCHEMES = ("sqlite", "postgresql", "mysql", "mssql", "http", "https", "databricks")


def tracking_uri(configured: str | None) -> str:
    """Tracking URI with an absolute path: from the environment, else the recipe, else a file in the working folder.

    Raises:
        UserError: MLflow does not support the URI.
    """
    uri = os.environ.get(VARIABLE) or configured or DEFAULT_URI
    scheme = uri.partition(":")[0].partition("+")[0]
    if scheme not in SCHEMES:
        raise UserError(
            f"tracking URI {mask_secrets(uri)!r}: MLflow 3 does not support it; expected a database or a server; "
            f"set sqlite:///PATH/mlflow.db or http://HOST:PORT in tracking.uri or {VARIABLE}"
        )
    path = database_path(uri)
    return uri if path is None else f"sqlite:///{path}"


def sqlite_path(uri: str) -> Path | None:
    """Absolute path of the SQLite store that a recipe names; None for a server.

    Raises:
        UserError: the URI has a driver, options or escapes, which could refer to another file.
    """
    if not uri.startswith("sqlite"):
        return None
    path = database_path(uri)
    if path is None or any(character in uri for character in "?#%\0"):
        raise UserError(
            f"tracking URI {mask_secrets(uri)!r}: expected sqlite:///PATH without a driver, options or escapes; correct it"
        )
    return path


def check_experiment(config: TrackingConfig) -> None:
    """Check that the name of an experiment cannot leave the store's folder of artifacts.

    Only Databricks uses absolute paths as names.

    Raises:
        UserError: the name is invalid; states the rule.
    """
    if config.experiment is not None:
        is_databricks = (os.environ.get(VARIABLE) or config.uri or "").startswith("databricks")
        check_path("experiment", config.experiment.removeprefix("/") if is_databricks else config.experiment)


def database_path(uri: str) -> Path | None:
    """Path of the file of an SQLite store; None for other stores.

    >>> database_path("sqlite:////a/mlflow.db"), database_path("http://host")
    (PosixPath('/a/mlflow.db'), None)
    """
    return Path.cwd() / uri.removeprefix("sqlite:///") if uri.startswith("sqlite:///") else None
