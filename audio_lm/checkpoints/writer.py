"""Atomic write of one checkpoint: into a temporary folder, verified, then renamed; no file is ever overwritten.

Every rank writes its shards. All ranks learn of the failure of any rank before the rename, so they continue, or
stop, together.
"""

import errno
import json
import os
import shutil
import uuid
from collections.abc import Mapping
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
from audio_lm.common.protocols import Factory
from audio_lm.common.seals import FileSeal, seal_of

FREE_FACTOR = 1.2  # free space, relative to the last checkpoint
# The archive writer of torch reports a full disk as RuntimeError, and CheckpointException is not an Exception.
FAILURES = (OSError, RuntimeError, CheckpointException)
Result = TypeVar("Result")


class SaveFailed(Exception):  # noqa: N818
    """A checkpoint could not be written, and all ranks know it; older checkpoints are unchanged."""


def allow_rename() -> None:
    """Allow every rename."""


class ShardWriter(FileSystemWriter):
    """Write shards without the path of the temporary folder in the metadata."""

    def storage_meta(self) -> StorageMeta | None:
        """Empty metadata: a path would be wrong after the rename, and ``safe_reader`` does not allow it."""
        return StorageMeta()


class CheckpointWriter:
    """Write the checkpoints of one stage; all ranks call every method together.

    Args:
        folder: of the stage's checkpoints.
        may_rename: called by the first rank right before the rename; raises if a newer start has the run. The
            first rank raises the same error, the other ranks a ``CheckpointError`` with its message.
    """

    def __init__(self, folder: Path, group: Group, *, may_rename: Factory[object] = allow_rename) -> None:
        self.folder = folder
        self.group = group
        self.may_rename = may_rename

    def write(
        self, tensors: Mapping[str, Any], *, step: int, facts: Mapping[str, Any], progress: Mapping[str, Any]
    ) -> Checkpoint:
        """Write the checkpoint of a step, unless the step already has one.

        Args:
            tensors: by name; every rank writes its part of a ``DTensor``, one rank each other tensor.
            facts: plain values for the manifest.
            progress: plain values for ``progress.json``.

        Raises:
            SaveFailed: it could not be written.
            CheckpointError: ``may_rename`` of the first rank refused.
        """
        final = self.folder / checkpoint_name(step)
        partial = self._on_first_rank(lambda: self._open_partial(final, tensors))
        if partial is None:
            return Checkpoint(final, read_manifest(final))
        try:
            self._on_every_rank(lambda: self._write_shards(partial, tensors))
            seals = self._on_every_rank(lambda: self._seal_shards(partial))
            files = {name: seal for of_rank in seals for name, seal in of_rank.items()}
            manifest = self._on_first_rank(
                lambda: self._write_manifest(partial, step=step, files=files, facts=facts, progress=progress)
            )
            self._on_first_rank(lambda: self._rename(partial, final))
        except BaseException:
            if self.group.rank == 0:
                shutil.rmtree(partial, ignore_errors=True)
            raise
        return Checkpoint(final, manifest)

    def _open_partial(self, final: Path, tensors: Mapping[str, Any]) -> Path | None:
        """Create the temporary folder; None if the step has a valid checkpoint."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if final.exists():
            if fault := _fault(final):
                raise FileExistsError(errno.EEXIST, f"it is in the way and invalid: {fault}", str(final))
            return None
        last = newest_valid(self.folder)
        num_bytes = last.manifest.num_bytes if last else sum(map(_num_bytes, tensors.values()))
        free = shutil.disk_usage(self.folder).free
        if free < FREE_FACTOR * num_bytes:
            why = f"{free / 1e6:.0f} MB are free, and {FREE_FACTOR * num_bytes / 1e6:.0f} MB are needed"
            raise OSError(errno.ENOSPC, why, str(self.folder))
        partial = final.with_name(f"{final.name}{UNFINISHED}{uuid.uuid4().hex[:8]}")
        partial.mkdir()
        return partial

    def _write_shards(self, partial: Path, tensors: Mapping[str, Any]) -> None:
        save(dict(tensors), storage_writer=ShardWriter(partial), process_group=self.group.process_group)

    def _seal_shards(self, partial: Path) -> dict[str, FileSeal]:
        """Sizes and checksums of the files of this rank, read back from disk."""
        return {path.name: seal_of(path) for path in sorted(partial.glob(f"__{self.group.rank}_*"))}

    def _write_manifest(
        self,
        partial: Path,
        *,
        step: int,
        files: dict[str, FileSeal],
        facts: Mapping[str, Any],
        progress: Mapping[str, Any],
    ) -> CheckpointManifest:
        """Write the progress, read it and the metadata back, then write the manifest."""
        text = json.dumps(progress)
        write_text(partial / PROGRESS, text)
        metadata_of(partial)
        if (partial / PROGRESS).read_text(encoding="utf-8") != text:
            raise OSError(errno.EIO, "its content differs after the write", str(partial / PROGRESS))
        small = {name: seal_of(partial / name) for name in (PROGRESS, METADATA)}
        manifest = CheckpointManifest(step, self.group.size, dict(facts), files | small)
        write_manifest(partial, manifest)
        if fault := _fault(partial):
            raise OSError(errno.EIO, fault, str(partial))
        sync_folder(partial)
        return manifest

    def _rename(self, partial: Path, final: Path) -> None:
        self.may_rename()
        if final.exists():  # a rename onto an empty folder would succeed
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(final))
        partial.rename(final)
        sync_folder(self.folder)

    def _on_first_rank(self, work: Factory[Result]) -> Result:
        """Run on the first rank; every rank returns its result."""
        return self._exchange(work if self.group.rank == 0 else None)[0]

    def _on_every_rank(self, work: Factory[Result]) -> list[Result]:
        """Run on every rank; returns the results of all ranks."""
        return self._exchange(work)

    def _exchange(self, work: Factory[Result] | None) -> list[Result]:
        result: Any = None
        problem, is_refusal, own = None, False, None
        try:
            result = None if work is None else work()
        except FAILURES as error:
            problem = _describe(error, self.group.rank)
        except BaseException as error:  # the other ranks wait for a message, whatever the error is
            problem, is_refusal, own = str(error), True, error
        answers = self.group.all_gather_object((result, problem, is_refusal))
        if own is not None:
            raise own
        for _, message, refuses in answers:
            if message is not None:
                raise CheckpointError(message) if refuses else SaveFailed(message)
        return [answer[0] for answer in answers]


def _fault(folder: Path) -> str | None:
    try:
        return fault_of(folder, read_manifest(folder))
    except CheckpointError as error:
        return str(error)


def _num_bytes(value: Any) -> int:
    return value.numel() * value.element_size() if isinstance(value, Tensor) else 0


def _describe(error: BaseException, rank: int) -> str:
    """Message of an error with its rank and file."""
    if isinstance(error, CheckpointException):
        return "; ".join(
            _describe(failure, failed) for failed, (failure, _) in sorted(error.failures.items())
        )
    if isinstance(error, OSError) and error.strerror:
        where = f" ({Path(str(error.filename)).name})" if error.filename else ""
        return f"rank {rank}: {error.strerror}{where}"
    return f"rank {rank}: {type(error).__name__}: {str(error).partition(chr(10))[0]}"
