"""The folder of a stage's checkpoints: which one is the newest that holds, which may go, what is left of killed saves.

A checkpoint is ``step-00000120/``; ``step-00000120.tmp-1a2b3c4d/`` is one that is being written, or was when its
writer was killed; ``step-00000120.broken-1/`` is one that was passed over.
"""

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from audio_lm.checkpoints.config import FEWEST
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
    """A folder that was a whole checkpoint when it was looked at."""

    path: Path
    manifest: CheckpointManifest

    @property
    def step(self) -> int:
        """Optimizer steps that are in it."""
        return self.manifest.step


@dataclass(frozen=True)
class Search:
    """What was found in a folder of checkpoints."""

    found: Checkpoint | None
    passed_over: tuple[tuple[Path, str], ...] = ()
    """Newer ones that do not hold, each with the reason."""


def checkpoint_name(step: int) -> str:
    """Of the folder of a checkpoint.

    >>> checkpoint_name(120)
    'step-00000120'
    """
    return f"step-{step:08d}"


def newest_valid(folder: Path) -> Checkpoint | None:
    """The newest checkpoint whose manifest holds, sizes looked at and checksums not: quick, and changes nothing.

    Raises:
        CheckpointError: there are only such as this program does not read.
    """
    return find_checkpoint(folder).found


def find_checkpoint(
    folder: Path,
    group: Group | None = None,
    fault_in: Callable[[Path, CheckpointManifest], str | None] = lambda path, manifest: None,
) -> Search:
    """The newest checkpoint that holds, by step and never by time.

    Args:
        group: ranks that look at the checksums of every file, each at its share; sizes only without.
        fault_in: what is wrong with the content of files whose checksums hold.

    Raises:
        CheckpointError: there are only such as this program does not read.
    """
    passed_over: list[tuple[Path, str]] = []
    for path in _candidates(folder):
        manifest, fault = _looked_at(path)
        if manifest is not None and fault is None and group is not None:
            fault = _bad_checksum(path, manifest, group) or fault_in(path, manifest)
        if manifest is not None and fault is None:
            return Search(Checkpoint(path, manifest), tuple(passed_over))
        passed_over.append((path, str(fault)))
    _check_none_is_old(folder)
    return Search(None, tuple(passed_over))


def valid_checkpoints(folder: Path) -> Iterator[Checkpoint]:
    """Every checkpoint whose manifest and sizes hold, newest first."""
    for path in _candidates(folder):
        manifest, fault = _looked_at(path)
        if manifest is not None and fault is None:
            yield Checkpoint(path, manifest)


def _candidates(folder: Path) -> list[Path]:
    named = folder.iterdir() if folder.is_dir() else ()
    steps = {path: int(match[1]) for path in named if (match := NAME.fullmatch(path.name)) and path.is_dir()}
    return sorted(steps, key=steps.__getitem__, reverse=True)


def _looked_at(path: Path) -> tuple[CheckpointManifest | None, str | None]:
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
    mine: dict[str, FileSeal] = {name: manifest.files[name] for name in names}
    try:
        fault = fault_of(path, manifest, mine)
    except OSError as error:
        fault = f"it cannot be read ({error.strerror})"
    return next((one for one in group.all_gather_object(fault) if one is not None), None)


def _check_none_is_old(folder: Path) -> None:
    if (folder / OLD_FILE).exists():
        raise CheckpointError(
            f"{folder / OLD_FILE} is a checkpoint of version 0, one file from before checkpoints were folders, and this "
            f"program reads folders of format 1 -- finish the stage with the release that began it, or begin it anew "
            f"without resume"
        )


def remove_unfinished(folder: Path, passed_over: Sequence[tuple[Path, str]] = ()) -> None:
    """Clear what killed saves have left, and move aside what does not hold, so that its step can be written again.

    For one rank, before anybody saves.
    """
    for path in [*folder.glob(f"*{UNFINISHED}*")] if folder.is_dir() else ():
        shutil.rmtree(path, ignore_errors=True)
    for path, _ in passed_over:
        number = 1
        while (aside := path.with_name(f"{path.name}.broken-{number}")).exists():
            number += 1
        path.rename(aside)


def prune(folder: Path, *, keep_last: int, keep_best: int, pin_every: int) -> list[Path]:
    """Delete checkpoints that need not stay; never so that fewer than two valid ones are left.

    For one rank, after a newer one is there.

    Returns:
        What is gone.
    """
    there = list(valid_checkpoints(folder))
    stays = {one.path for one in there[: max(FEWEST, keep_last)]}
    judged = [one for one in there if one.manifest.facts.get("val_loss") is not None]
    best = sorted(judged, key=lambda one: (one.manifest.facts["val_loss"], -one.step))
    stays |= {one.path for one in best[:keep_best]}
    stays |= {one.path for one in there if pin_every and one.step % pin_every == 0}
    stays |= {one.path for one in there if (one.path / PINNED).exists()}
    gone = [one.path for one in there if one.path not in stays]
    for path in gone:
        beside = path.with_name(
            f"{path.name}{UNFINISHED}gone"
        )  # from here on nobody takes it for a checkpoint
        path.rename(beside)
        shutil.rmtree(beside, ignore_errors=True)
    return gone
