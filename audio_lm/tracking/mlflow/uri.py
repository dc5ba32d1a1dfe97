"""Where runs are kept: the address of an MLflow store, looked at without asking MLflow."""

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
    """Where runs are kept, absolute: the environment first, then the recipe, then a file where we stand.

    Raises:
        UserError: MLflow would not take the URI.
    """
    uri = os.environ.get(VARIABLE) or configured or DEFAULT_URI
    scheme = uri.partition(":")[0].partition("+")[0]
    if scheme not in SCHEMES:
        raise UserError(
            f"tracking URI {mask_secrets(uri)!r}: MLflow 3 keeps no runs there; expected a database or a server; "
            f"write sqlite:///PATH/mlflow.db or http://HOST:PORT in tracking.uri or {VARIABLE}"
        )
    path = database_path(uri)
    return uri if path is None else f"sqlite:///{path}"


def sqlite_path(uri: str) -> Path | None:
    """The file of an SQLite store that a recipe names, absolute; none for a server.

    Raises:
        UserError: the URI has a driver or options, with which another file could be meant.
    """
    if not uri.startswith("sqlite"):
        return None
    path = database_path(uri)
    if path is None or any(character in uri for character in "?#%\0"):
        raise UserError(
            f"tracking URI {mask_secrets(uri)!r}: expected sqlite:///PATH without a driver, options or escapes; write it so"
        )
    return path


def check_experiment(config: TrackingConfig) -> None:
    """Refuse a name of an experiment that leads out of the store's folder of artifacts.

    Databricks alone has names of folders there, which begin with a slash.

    Raises:
        UserError: gives the rule.
    """
    if config.experiment is not None:
        is_databricks = (os.environ.get(VARIABLE) or config.uri or "").startswith("databricks")
        check_path("experiment", config.experiment.removeprefix("/") if is_databricks else config.experiment)


def database_path(uri: str) -> Path | None:
    """The file of an SQLite store.

    >>> database_path("sqlite:////a/mlflow.db"), database_path("http://host")
    (PosixPath('/a/mlflow.db'), None)
    """
    return Path.cwd() / uri.removeprefix("sqlite:///") if uri.startswith("sqlite:///") else None
