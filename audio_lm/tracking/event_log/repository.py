"""What git knows about a folder, without running anything that the folder's own configuration names.

``git status`` and ``git diff`` run commands of a repository's configuration: a monitor of files (``core.fsmonitor``),
hooks, filters and converters of attributes, other diff programs, and those of submodules. So git is
shown a folder of ours in place of ``.git``, with the commit, the index and the objects, and a configuration of its own.
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
    """A commit and what has changed since."""

    commit: str
    branch: str
    url: str
    """Of ``origin``; may hold a password."""

    status: str
    """A line for each file that is not as committed; empty for none."""

    diff: str
    """Of files that git knows."""


def read_repository(folder: Path) -> Repository | None:
    """The repository around a folder; none where there is no git, no repository or no commit."""
    paths = ("--git-path", "objects", "--git-path", "index", "--git-path", "info/exclude")
    found = _git(folder, "rev-parse", "HEAD", *paths).splitlines()
    top = next((one for one in (folder, *folder.absolute().parents) if (one / ".git").exists()), None)
    if len(found) != 4 or top is None:
        return None
    commit = found[0]
    objects, index, exclude = (folder.absolute() / path for path in found[1:])
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
    """Settings about the disk and ends of lines, without which every file would seem changed."""
    lines = _git(folder, "config", "--get-regexp", KEPT_SETTINGS).splitlines()
    settings = dict(line.split(" ", 1) for line in lines if " " in line)
    return {name.removeprefix("core."): value for name, value in settings.items() if value in KEPT_VALUES}


def _write_clean(folder: Path, commit: str, settings: Mapping[str, str]) -> None:
    """Write a ``.git`` whose head is the commit."""
    for name in ("refs", "info"):
        (folder / name).mkdir()
    (folder / "HEAD").write_text(f"{commit}\n")
    is_sha1 = len(commit) == 40
    lines = ["[core]", f"repositoryformatversion = {0 if is_sha1 else 1}", "bare = false"]
    lines += [f"{name} = {value}" for name, value in settings.items()]
    lines += [] if is_sha1 else ["[extensions]", "objectformat = sha256"]
    (folder / "config").write_text("\n".join(lines) + "\n")


def _git(folder: Path, *arguments: str, places: Mapping[str, str] | None = None) -> str:
    """What git says, or nothing where there is no git, no repository or no answer.

    Args:
        places: of a clean repository. Without them the folder's own configuration is read, by commands that run
            nothing of it.
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
        done = subprocess.run(
            ["git", "--no-pager", "-C", str(folder), *arguments],
            capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False, env={**kept, **fixed, **own},
        )  # fmt: skip
    except (FileNotFoundError, PermissionError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.rstrip() if done.returncode == 0 else ""
