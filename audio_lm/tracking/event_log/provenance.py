"""Where a run comes from: code, packages, machine, command line, and the manifests it read.

Secrets stay out: only environment variables of known families are kept, and of
those none whose name smells of a password.
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
    """A cut-set that a run reads."""

    name: str
    """Of the source: ``corpus/subset-split``."""

    path: Path
    """Of the file."""

    digest: str
    """From ``digest_of_files``; at most 36 characters."""

    hours: float
    """Of audio."""

    num_cuts: int
    """Lines of the file."""

    context: str
    """What it is read for: ``train``, ``validation`` or ``test``."""


@dataclass(frozen=True)
class Provenance:
    """Where a run comes from, as MLflow tags and as files."""

    tags: dict[str, str] = field(default_factory=dict)
    """Under MLflow's own names where it has some: its page shows file, branch and commit."""

    file_of_path: dict[str, str] = field(default_factory=dict)
    """Path below the run -> text."""


def provenance(folder: Path | None = None) -> Provenance:
    """Look at the code in a folder (where we stand), at this process and at this machine."""
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
    """32 hexadecimal digits of the content of files, one after the other."""
    state = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            hashlib.file_digest(file, lambda: state)
    return state.hexdigest()[:32]


def filter_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables that explain a run and give nothing away.

    >>> filter_environment({"OMP_NUM_THREADS": "1", "MLFLOW_TRACKING_TOKEN": "t", "HOME": "/root"})
    {'OMP_NUM_THREADS': '1'}
    """
    return {
        name: mask_secrets(value)
        for name, value in environment.items()
        if name.startswith(KEPT_PREFIXES) and not SECRET_VARIABLE.search(name)
    }


def mask_argument(argument: str) -> str:
    """A word of a command line, as others may read it.

    >>> mask_argument("+corpora.mine.api_key=abc"), mask_argument("seed=1")
    ('+corpora.mine.api_key=***', 'seed=1')
    """
    key, found, _ = argument.partition("=")
    is_secret = found and SECRET_SETTING.fullmatch(key.rpartition(".")[2].lstrip("+-"))
    return f"{key}={MASK}" if is_secret else mask_secrets(argument)


def _versions() -> dict[str, str]:
    return {found.metadata["Name"]: found.version for found in distributions() if found.metadata["Name"]}


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
    """What is not committed: names of new files first, then the changes themselves."""
    if not repository.status:
        return ""
    listed = "".join(f"# {line}\n" for line in repository.status.splitlines())
    is_cut = len(repository.diff) > MAX_DIFF_LENGTH
    cut = f"\n# cut after {MAX_DIFF_LENGTH} characters\n" if is_cut else "\n"
    return mask_secrets(listed + repository.diff[:MAX_DIFF_LENGTH]) + cut
