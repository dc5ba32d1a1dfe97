"""Checkpoint folder of a stage: find the newest valid checkpoint, prune old ones, remove unfinished saves.

A checkpoint is ``step-00000120/``. ``step-00000120.tmp-1a2b3c4d/`` is being written, or its writer was killed;
``step-00000120.broken-1/`` was invalid and is skipped.
"""

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from audio_lm.checkpoints.config import MIN_VALID
from audio_lm.checkpoints.manifest import CheckpointManifest, OtherFormatError, fault_of, read_manifest
from audio_lm.checkpoints.process_group import Group
from audio_lm.common.errors import CheckpointError
from audio_lm.common.seals import FileSeal

NAME = re.compile(r"step-(\d{8,})")
UNFINISHED = ".tmp-"
PINNED = "PINNED"
OLD_FILE = "last.ckpt"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was valid when it was checked."""

    path: Path
    manifest: CheckpointManifest

    @property
    def step(self) -> int:
        """Optimizer steps before it was saved."""
        return self.manifest.step


@dataclass(frozen=True)
class Search:
    """Result of ``find_checkpoint``."""

    found: Checkpoint | None
    passed_over: tuple[tuple[Path, str], ...] = ()
    """Newer checkpoints that are invalid, each with the reason."""


def checkpoint_name(step: int) -> str:
    """Folder name of a checkpoint.

    >>> checkpoint_name(120)
    'step-00000120'
    """
    return f"step-{step:08d}"


def newest_valid(folder: Path) -> Checkpoint | None:
    """The newest checkpoint with a valid manifest and correct file sizes; checksums are not checked, so it is fast.

    Raises:
        CheckpointError: the newest complete checkpoint has another format.
    """
    return find_checkpoint(folder).found


class FaultIn(Protocol):
    """Check of the content of a checkpoint whose checksums are correct."""

    def __call__(self, path: Path, manifest: CheckpointManifest, /) -> str | None:
        """Fault of the content; None if it is valid."""


def find_checkpoint(
    folder: Path,
    group: Group | None = None,
    fault_in: FaultIn = lambda path, manifest: None,
) -> Search:
    """The newest valid checkpoint, by step and not by time.

    Args:
        group: ranks that check all checksums together, each a part of the files; None checks sizes only.
        fault_in: returns a fault in the content of files with correct checksums, or None.

    Raises:
        CheckpointError: the newest complete checkpoint has another format.
    """
    passed_over: list[tuple[Path, str]] = []
    for path in _candidates(folder):
        manifest, fault = _check(path)
        if manifest is not None and fault is None and group is not None:
            fault = _bad_checksum(path, manifest, group) or fault_in(path, manifest)
        if manifest is not None and fault is None:
            return Search(Checkpoint(path, manifest), tuple(passed_over))
        passed_over.append((path, str(fault)))
    _refuse_version_0(folder)
    return Search(None, tuple(passed_over))


def valid_checkpoints(folder: Path) -> Iterator[Checkpoint]:
    """Every checkpoint with a valid manifest and correct file sizes, newest first."""
    for path in _candidates(folder):
        manifest, fault = _check(path)
        if manifest is not None and fault is None:
            yield Checkpoint(path, manifest)


def _candidates(folder: Path) -> list[Path]:
    paths = folder.iterdir() if folder.is_dir() else ()
    steps = {path: int(match[1]) for path in paths if (match := NAME.fullmatch(path.name)) and path.is_dir()}
    return sorted(steps, key=steps.__getitem__, reverse=True)


def _check(path: Path) -> tuple[CheckpointManifest | None, str | None]:
    try:
        manifest = read_manifest(path)
    except OtherFormatError:
        raise
    except CheckpointError as error:
        return None, str(error)
    if path.name != checkpoint_name(manifest.step):
        return None, f"its manifest is of step {manifest.step}"
    return manifest, fault_of(path, manifest)


def _bad_checksum(path: Path, manifest: CheckpointManifest, group: Group) -> str | None:
    names = sorted(manifest.files)[group.rank :: group.size]
    part: dict[str, FileSeal] = {name: manifest.files[name] for name in names}
    try:
        fault = fault_of(path, manifest, part)
    except OSError as error:
        fault = f"it cannot be read ({error.strerror})"
    return next((fault for fault in group.all_gather_object(fault) if fault is not None), None)


def _refuse_version_0(folder: Path) -> None:
    if (folder / OLD_FILE).exists():
        raise CheckpointError(
            f"{folder / OLD_FILE} is a checkpoint of version 0, one file, but this program reads folders of format 1 -- "
            f"finish the stage with the release that started it, or restart the stage with resume=never"
        )


def remove_unfinished(folder: Path, passed_over: Sequence[tuple[Path, str]] = ()) -> None:
    """Remove the folders of killed saves, and rename invalid checkpoints, so that their steps can be saved again.

    One rank calls it, before any rank saves.
    """
    for path in [*folder.glob(f"*{UNFINISHED}*")] if folder.is_dir() else ():
        shutil.rmtree(path, ignore_errors=True)
    for path, _ in passed_over:
        number = 1
        while (aside := path.with_name(f"{path.name}.broken-{number}")).exists():
            number += 1
        path.rename(aside)


def prune(folder: Path, *, keep_last: int, keep_best: int, pin_every: int) -> list[Path]:
    """Delete checkpoints that the settings do not keep; at least two valid ones remain.

    One rank calls it, after a newer checkpoint exists.

    Returns:
        Deleted folders.
    """
    found = list(valid_checkpoints(folder))
    kept = {checkpoint.path for checkpoint in found[: max(MIN_VALID, keep_last)]}
    evaluated = [checkpoint for checkpoint in found if checkpoint.manifest.facts.get("val_loss") is not None]
    best = sorted(evaluated, key=lambda checkpoint: (checkpoint.manifest.facts["val_loss"], -checkpoint.step))
    kept |= {checkpoint.path for checkpoint in best[:keep_best]}
    kept |= {checkpoint.path for checkpoint in found if pin_every and checkpoint.step % pin_every == 0}
    kept |= {checkpoint.path for checkpoint in found if (checkpoint.path / PINNED).exists()}
    deleted = [checkpoint.path for checkpoint in found if checkpoint.path not in kept]
    for path in deleted:
        # Renamed first: a reader must not find a half-deleted checkpoint.
        unfinished = path.with_name(f"{path.name}{UNFINISHED}gone")
        path.rename(unfinished)
        shutil.rmtree(unfinished, ignore_errors=True)
    return deleted
