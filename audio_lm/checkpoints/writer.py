"""Writing one checkpoint: beside its place, checked, sealed, and moved there in one step; nothing is ever written over.

Every rank writes its share. What one of them could not do is known to all before anything
is moved, so that they go on, or stop, together.
"""

import errno
import json
import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.metadata import StorageMeta
from torch.distributed.checkpoint.state_dict_saver import save

from audio_lm.checkpoints.discovery import UNFINISHED, Checkpoint, checkpoint_name, newest_valid
from audio_lm.checkpoints.manifest import (
    PROGRESS,
    CheckpointManifest,
    fault_of,
    read_manifest,
    write_manifest,
)
from audio_lm.checkpoints.process_group import Group
from audio_lm.checkpoints.safe_reader import METADATA, metadata_of
from audio_lm.common.errors import CheckpointError
from audio_lm.common.files import sync_folder, write_text
from audio_lm.common.seals import FileSeal, seal_of

ROOM = 1.2  # of the last checkpoint's bytes, that have to be free
# torch's writer of archives reports a full disk as RuntimeError, and a failed save is no Exception at all.
FAILURES = (OSError, RuntimeError, CheckpointException)
Result = TypeVar("Result")


class SaveFailed(Exception):  # noqa: N818
    """A checkpoint could not be written, which all ranks know; those before it are as they were."""


def allow_rename() -> None:
    """Whoever asks may rename."""


class Shards(FileSystemWriter):
    """Writes shards whose description does not tell where they were written first."""

    def storage_meta(self) -> StorageMeta | None:
        """Nothing: a path would be another after the move, and is no plain value."""
        return StorageMeta()


class CheckpointWriter:
    """Writes the checkpoints of one stage; all ranks do everything together.

    Args:
        folder: of the stage's checkpoints.
        may_rename: called by the first rank right before a checkpoint takes its place; raises when the run
            belongs to somebody else by now, which the first rank gets as it is and the others as a sentence.
    """

    def __init__(self, folder: Path, group: Group, *, may_rename: Callable[[], None] = allow_rename) -> None:
        self.folder = folder
        self.group = group
        self.may_rename = may_rename

    def write(
        self, tensors: Mapping[str, Any], *, step: int, facts: Mapping[str, Any], progress: Mapping[str, Any]
    ) -> Checkpoint:
        """Write what all ranks have as the checkpoint of a step, or take the one that is there already.

        Args:
            tensors: by name; of a ``DTensor`` every rank writes its own part, of a tensor that all have one does.
            facts: plain values for the manifest.
            progress: plain values for a file of their own.

        Raises:
            SaveFailed: it could not be written.
            CheckpointError: the run belongs to somebody else by now.
        """
        final = self.folder / checkpoint_name(step)
        beside = self._first(lambda: self._opened(final, tensors))
        if beside is None:
            return Checkpoint(final, read_manifest(final))
        try:
            self._every(lambda: self._shards(beside, tensors))
            seals = self._every(lambda: self._own_seals(beside))
            files = {name: seal for of_rank in seals for name, seal in of_rank.items()}
            manifest = self._first(
                lambda: self._sealed(beside, step=step, files=files, facts=facts, progress=progress)
            )
            self._first(lambda: self._moved(beside, final))
        except BaseException:
            if self.group.rank == 0:
                shutil.rmtree(beside, ignore_errors=True)
            raise
        return Checkpoint(final, manifest)

    def _opened(self, final: Path, tensors: Mapping[str, Any]) -> Path | None:
        """The folder that is written into; none where the step has its checkpoint."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if final.exists():
            if fault := _fault(final):
                raise FileExistsError(
                    errno.EEXIST, f"it is in the way and does not hold: {fault}", str(final)
                )
            return None
        last = newest_valid(self.folder)
        num_bytes = last.manifest.num_bytes if last else sum(map(_num_bytes, tensors.values()))
        free = shutil.disk_usage(self.folder).free
        if free < ROOM * num_bytes:
            why = f"{free / 1e6:.0f} MB are free, and {ROOM * num_bytes / 1e6:.0f} MB are wanted"
            raise OSError(errno.ENOSPC, why, str(self.folder))
        beside = final.with_name(f"{final.name}{UNFINISHED}{uuid.uuid4().hex[:8]}")
        beside.mkdir()
        return beside

    def _shards(self, beside: Path, tensors: Mapping[str, Any]) -> None:
        save(dict(tensors), storage_writer=Shards(beside), process_group=self.group.process_group)

    def _own_seals(self, beside: Path) -> dict[str, FileSeal]:
        """Of the files that this rank has written, read back."""
        return {path.name: seal_of(path) for path in sorted(beside.glob(f"__{self.group.rank}_*"))}

    def _sealed(
        self,
        beside: Path,
        *,
        step: int,
        files: dict[str, FileSeal],
        facts: Mapping[str, Any],
        progress: Mapping[str, Any],
    ) -> CheckpointManifest:
        """Small files written and read back, then the manifest."""
        text = json.dumps(progress)
        write_text(beside / PROGRESS, text)
        metadata_of(beside)
        if (beside / PROGRESS).read_text(encoding="utf-8") != text:
            raise OSError(errno.EIO, "it reads back as something else", str(beside / PROGRESS))
        small = {name: seal_of(beside / name) for name in (PROGRESS, METADATA)}
        manifest = CheckpointManifest(step, self.group.size, dict(facts), files | small)
        write_manifest(beside, manifest)
        if fault := _fault(beside):
            raise OSError(errno.EIO, fault, str(beside))
        sync_folder(beside)
        return manifest

    def _moved(self, beside: Path, final: Path) -> None:
        self.may_rename()
        if final.exists():  # a rename would go through where the other folder is empty
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(final))
        beside.rename(final)
        sync_folder(self.folder)

    def _first(self, work: Callable[[], Result]) -> Result:
        """What the first rank's work gives, on every rank."""
        return self._together(work if self.group.rank == 0 else None)[0]

    def _every(self, work: Callable[[], Result]) -> list[Result]:
        """What the ranks' work gives."""
        return self._together(work)

    def _together(self, work: Callable[[], Result] | None) -> list[Result]:
        result: Any = None
        problem, is_refusal, own = None, False, None
        try:
            result = None if work is None else work()
        except FAILURES as error:
            problem = _worded(error, self.group.rank)
        except BaseException as error:  # the others wait to hear, whatever it is
            problem, is_refusal, own = str(error), True, error
        answers = self.group.all_gather_object((result, problem, is_refusal))
        if own is not None:
            raise own
        for _, one, refuses in answers:
            if one is not None:
                raise CheckpointError(one) if refuses else SaveFailed(one)
        return [answer[0] for answer in answers]


def _fault(folder: Path) -> str | None:
    try:
        return fault_of(folder, read_manifest(folder))
    except CheckpointError as error:
        return str(error)


def _num_bytes(value: Any) -> int:
    return value.numel() * value.element_size() if isinstance(value, Tensor) else 0


def _worded(error: BaseException, rank: int) -> str:
    """What went wrong and where, as far as the ranks told each other."""
    if isinstance(error, CheckpointException):
        return "; ".join(_worded(one, of) for of, (one, _) in sorted(error.failures.items()))
    if isinstance(error, OSError) and error.strerror:
        where = f" ({Path(str(error.filename)).name})" if error.filename else ""
        return f"rank {rank}: {error.strerror}{where}"
    return f"rank {rank}: {type(error).__name__}: {str(error).partition(chr(10))[0]}"
