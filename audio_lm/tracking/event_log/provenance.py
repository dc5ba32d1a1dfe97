"""Provenance of a run: code, packages, machine, command line, and the cut-sets that it reads.

Secrets are excluded: only environment variables with known prefixes are kept, and of
those none with the name of a secret.
"""

import getpass
import hashlib
import json
import os
import platform
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

from audio_lm.common.secrets import MASK, SECRET_SETTING, SECRET_VARIABLE, mask_secrets
from audio_lm.tracking.event_log.repository import Repository, read_repository

MAIN_PACKAGES = ("torch", "lightning", "transformers", "tokenizers", "lhotse", "mlflow", "omegaconf", "numpy")
KEPT_PREFIXES = (
    "AUDIO_LM_", "CUDA_", "GLOO_", "HF_HUB_OFFLINE", "LOCAL_RANK", "MASTER_", "MKL_", "MLFLOW_", "NCCL_",
    "NODE_RANK", "NVIDIA_VISIBLE_DEVICES", "OMP_", "PYTORCH_", "RANK", "SLURM_", "TORCH", "WORLD_SIZE",
)  # fmt: skip
MAX_DIFF_LENGTH = 1_000_000


@dataclass(frozen=True, kw_only=True)
class InputCutSet:
    """Cut-set that a run reads, logged as an MLflow dataset input."""

    name: str
    """Name of the source: ``corpus/subset-split``."""

    path: Path
    """Manifest file."""

    digest: str
    """From ``digest_of_files``; at most 36 characters."""

    hours: float
    """Hours of audio."""

    num_cuts: int
    """Number of lines in the file."""

    context: str
    """Purpose: ``train``, ``validation`` or ``test``."""


@dataclass(frozen=True)
class Provenance:
    """Provenance of a run, as MLflow tags and as files."""

    tags: dict[str, str] = field(default_factory=dict)
    """Tags; with MLflow's own names if they exist: its web page shows file, branch and commit."""

    file_of_path: dict[str, str] = field(default_factory=dict)
    """Path in the run's folder -> text."""


def provenance(folder: Path | None = None) -> Provenance:
    """Collect the provenance of this process; ``folder`` has the code, by default the working folder."""
    folder = Path.cwd() if folder is None else folder
    tags = {
        "mlflow.source.name": Path(sys.argv[0]).name or "python",
        "mlflow.source.type": "LOCAL",
        "mlflow.user": _user(),
        "command": mask_secrets(shlex.join(mask_argument(argument) for argument in sys.argv)),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    version_of_package = _versions()
    tags |= {
        f"version.{name}": version_of_package[name] for name in MAIN_PACKAGES if name in version_of_package
    }
    files = {
        "provenance/packages.txt": "".join(
            f"{name}=={v}\n" for name, v in sorted(version_of_package.items())
        ),
        "provenance/environment.json": json.dumps(filter_environment(os.environ), indent=2, sort_keys=True)
        + "\n",
    }
    repository = read_repository(folder)
    if repository is not None:
        tags |= _git_tags(repository)
        if diff := _uncommitted(repository):
            files["provenance/uncommitted.diff"] = diff
    return Provenance(tags, files)


def digest_of_files(*paths: Path) -> str:
    """32 hexadecimal digits of the SHA-256 of the concatenated files."""
    state = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            hashlib.file_digest(file, lambda: state)
    return state.hexdigest()[:32]


def filter_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Environment variables that describe a run, without secrets.

    >>> filter_environment({"OMP_NUM_THREADS": "1", "MLFLOW_TRACKING_TOKEN": "t", "HOME": "/root"})
    {'OMP_NUM_THREADS': '1'}
    """
    return {
        name: mask_secrets(value)
        for name, value in environment.items()
        if name.startswith(KEPT_PREFIXES) and not SECRET_VARIABLE.search(name)
    }


def mask_argument(argument: str) -> str:
    """Mask the secret in an argument of the command line.

    >>> mask_argument("+corpora.mine.api_key=abc"), mask_argument("seed=1")
    ('+corpora.mine.api_key=***', 'seed=1')
    """
    key, found, _ = argument.partition("=")
    is_secret = found and SECRET_SETTING.fullmatch(key.rpartition(".")[2].lstrip("+-"))
    return f"{key}={MASK}" if is_secret else mask_secrets(argument)


@cache  # reading the metadata of all packages takes a third of a second
def _versions() -> Mapping[str, str]:
    return {
        package.metadata["Name"]: package.version for package in distributions() if package.metadata["Name"]
    }


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # an account without a name, as in containers
        return "unknown"


def _git_tags(repository: Repository) -> dict[str, str]:
    tags = {
        "mlflow.source.git.commit": repository.commit,
        "mlflow.source.git.branch": repository.branch,
        "mlflow.source.git.dirty": str(bool(repository.status)).lower(),
        "mlflow.source.git.repoURL": mask_secrets(repository.url),
    }
    return {name: value for name, value in tags.items() if value}


def _uncommitted(repository: Repository) -> str:
    """Uncommitted changes: the list of changed files, then the diff."""
    if not repository.status:
        return ""
    listed = "".join(f"# {line}\n" for line in repository.status.splitlines())
    is_truncated = len(repository.diff) > MAX_DIFF_LENGTH
    end = f"\n# truncated after {MAX_DIFF_LENGTH} characters\n" if is_truncated else "\n"
    return mask_secrets(listed + repository.diff[:MAX_DIFF_LENGTH]) + end
