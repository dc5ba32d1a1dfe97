"""Reading a checkpoint without running what stands in it.

The stock reader unpickles ``.metadata`` and every entry that is no tensor, whatever they hold.
Here only the names that a checkpoint is made of are known, files lie in the folder itself,
and other entries are read as weights are.
"""

import io
import pickle
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import ReadItem

from audio_lm.checkpoints.manifest import CheckpointManifest
from audio_lm.common.errors import CheckpointError

METADATA = ".metadata"
DESCRIPTION = "torch.distributed.checkpoint.metadata"
KNOWN = {
    *((DESCRIPTION, name) for name in ("Metadata", "MetadataIndex", "StorageMeta", "TensorProperties")),
    *(
        (DESCRIPTION, name)
        for name in ("TensorStorageMetadata", "BytesStorageMetadata", "ChunkStorageMetadata")
    ),
    (DESCRIPTION, "_MEM_FORMAT_ENCODING"),
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
    ("torch.serialization", "_get_layout"),
    ("torch", "Size"),
}


class _KnownNames(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in KNOWN or (
            module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        ):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is nothing that a checkpoint is made of")


def metadata_of(folder: Path, manifest: CheckpointManifest | None = None) -> Metadata:
    """What tensors a checkpoint has and where they lie.

    Args:
        manifest: of the checkpoint; files that it does not name are refused.

    Raises:
        CheckpointError: the file is damaged, or holds more than a description.
    """
    path = folder / METADATA
    try:
        with path.open("rb") as file:
            metadata = _KnownNames(file).load()
    except (OSError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise _refused(path, str(error)) from error
    except (AttributeError, ImportError, IndexError, KeyError, TypeError) as error:  # bytes that say nonsense
        raise _refused(path, f"it is damaged, {error}") from error
    if not isinstance(metadata, Metadata) or not isinstance(metadata.storage_data, dict):
        raise _refused(path, "it describes no checkpoint")
    for place in metadata.storage_data.values():
        name = str(place.relative_path)
        if Path(name).name != name or (manifest is not None and name not in manifest.files):
            raise _refused(path, f"it names {name!r}, which is no file of this checkpoint")
    return metadata


def _refused(path: Path, why: str) -> CheckpointError:
    return CheckpointError(
        f"{path} is refused: {why} -- expected what this program wrote -- take another checkpoint"
    )


class RestrictedReader(FileSystemReader):
    """Reads tensors of a description that was looked at already."""

    def __init__(self, folder: Path, metadata: Metadata) -> None:
        super().__init__(folder)
        self._metadata = metadata

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """The description."""
        return self._metadata


class PlainPlanner(DefaultLoadPlanner):
    """Entries that are no tensors are plain values; the table that is filled is flat."""

    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        """Put a plain value where it belongs."""
        self.original_state_dict[read_item.dest_index.fqn] = torch.load(value, weights_only=True)
