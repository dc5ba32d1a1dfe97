"""Git state of a folder, read without running commands from the repository's configuration.

``git status`` and ``git diff`` run commands that a repository configures: ``core.fsmonitor``, hooks, filters and
textconv of attributes, external diff programs, and those of submodules. A repository may be untrusted, so git runs
with a temporary ``.git`` folder that has the commit, the index, the objects and a minimal configuration.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

SECONDS = 10.0
KEPT_SETTINGS = "^core\\.(filemode|autocrlf|eol|symlinks|ignorecase|precomposeunicode|trustctime|checkstat)$"
KEPT_VALUES = ("true", "false", "input", "lf", "crlf", "native", "default", "minimal")
KEPT_VARIABLES = ("GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM")
PLAIN_DIFF = ("--no-color", "--no-ext-diff", "--no-textconv", "--ignore-submodules=all")


@dataclass(frozen=True)
class Repository:
    """Commit and uncommitted changes."""

    commit: str
    branch: str
    url: str
    """URL of ``origin``; may contain a password."""

    status: str
    """Line for each changed file; empty if there are none."""

    diff: str
    """Diff of tracked files."""


def read_repository(folder: Path) -> Repository | None:
    """Read the repository that contains a folder; None without git, repository or commit."""
    paths = ("--git-path", "objects", "--git-path", "index", "--git-path", "info/exclude")
    lines = _git(folder, "rev-parse", "HEAD", *paths).splitlines()
    top = next(
        (parent for parent in (folder, *folder.absolute().parents) if (parent / ".git").exists()), None
    )
    if len(lines) != 4 or top is None:
        return None
    commit = lines[0]
    objects, index, exclude = (folder.absolute() / path for path in lines[1:])
    with TemporaryDirectory(prefix="audio_lm-git-") as clean:
        _write_clean(Path(clean), commit, _kept_settings(folder))
        with suppress(OSError):
            shutil.copyfile(exclude, Path(clean) / "info" / "exclude")
        places = {
            "GIT_DIR": clean,
            "GIT_WORK_TREE": str(top.absolute()),
            "GIT_OBJECT_DIRECTORY": str(objects),
            "GIT_INDEX_FILE": str(index),
        }
        status = _git(top, "status", "--porcelain", "--ignore-submodules=all", places=places)
        diff = _git(top, "diff", "HEAD", *PLAIN_DIFF, places=places) if status else ""
    branch = _git(folder, "rev-parse", "--abbrev-ref", "HEAD")
    return Repository(commit, branch, _git(folder, "config", "--get", "remote.origin.url"), status, diff)


def _kept_settings(folder: Path) -> dict[str, str]:
    """Settings about file system and line endings, without which unchanged files would seem changed."""
    lines = _git(folder, "config", "--get-regexp", KEPT_SETTINGS).splitlines()
    settings = dict(line.split(" ", 1) for line in lines if " " in line)
    return {name.removeprefix("core."): value for name, value in settings.items() if value in KEPT_VALUES}


def _write_clean(folder: Path, commit: str, settings: Mapping[str, str]) -> None:
    """Write a minimal ``.git`` folder with the commit as HEAD."""
    for name in ("refs", "info"):
        (folder / name).mkdir()
    (folder / "HEAD").write_text(f"{commit}\n")
    is_sha1 = len(commit) == 40
    lines = ["[core]", f"repositoryformatversion = {0 if is_sha1 else 1}", "bare = false"]
    lines += [f"{name} = {value}" for name, value in settings.items()]
    lines += [] if is_sha1 else ["[extensions]", "objectformat = sha256"]
    (folder / "config").write_text("\n".join(lines) + "\n")


def _git(folder: Path, *arguments: str, places: Mapping[str, str] | None = None) -> str:
    """Output of a git command; empty without git, without a repository, or after a timeout.

    Args:
        places: variables for the temporary ``.git``. Without them git reads the folder's own configuration; this is
            only used for commands that run nothing from it.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or name in KEPT_VARIABLES
    }
    fixed = {
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_ALLOW_PROTOCOL": "",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_TERMINAL_PROMPT": "0",
    }
    own = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, **places} if places else {}
    try:
        result = subprocess.run(
            ["git", "--no-pager", "-C", str(folder), *arguments],
            capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False, env={**kept, **fixed, **own},
        )  # fmt: skip
    except (FileNotFoundError, PermissionError, subprocess.TimeoutExpired):
        return ""
    return result.stdout.rstrip() if result.returncode == 0 else ""
