"""Checkpoint reader that runs no pickled code.

The reader of torch unpickles ``.metadata`` and every entry that is not a tensor without checks. This one
allows only the classes of checkpoint metadata, opens files of the checkpoint folder only, and reads
other entries with ``weights_only=True``.
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
METADATA_MODULE = "torch.distributed.checkpoint.metadata"
ALLOWED = {
    *((METADATA_MODULE, name) for name in ("Metadata", "MetadataIndex", "StorageMeta", "TensorProperties")),
    *(
        (METADATA_MODULE, name)
        for name in ("TensorStorageMetadata", "BytesStorageMetadata", "ChunkStorageMetadata")
    ),
    (METADATA_MODULE, "_MEM_FORMAT_ENCODING"),
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
    ("torch.serialization", "_get_layout"),
    ("torch", "Size"),
}


class _MetadataUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in ALLOWED or (
            module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        ):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a checkpoint")


def metadata_of(folder: Path, manifest: CheckpointManifest | None = None) -> Metadata:
    """Metadata of a checkpoint: tensors and their places in the files.

    Args:
        manifest: of the checkpoint; files that it does not list are refused.

    Raises:
        CheckpointError: the file is damaged, or holds more than metadata.
    """
    path = folder / METADATA
    try:
        with path.open("rb") as file:
            metadata = _MetadataUnpickler(file).load()
    except (OSError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise _refused(path, str(error)) from error
    except (AttributeError, ImportError, IndexError, KeyError, TypeError) as error:  # from damaged bytes
        raise _refused(path, f"it is damaged, {error}") from error
    if not isinstance(metadata, Metadata) or not isinstance(metadata.storage_data, dict):
        raise _refused(path, "it is no metadata of a checkpoint")
    for place in metadata.storage_data.values():
        name = str(place.relative_path)
        if Path(name).name != name or (manifest is not None and name not in manifest.files):
            raise _refused(path, f"it names {name!r}, which is no file of this checkpoint")
    return metadata


def _refused(path: Path, why: str) -> CheckpointError:
    return CheckpointError(
        f"{path} is refused: {why} -- expected a file that this program wrote -- use another checkpoint"
    )


class RestrictedReader(FileSystemReader):
    """Read tensors with metadata that was checked before."""

    def __init__(self, folder: Path, metadata: Metadata) -> None:
        super().__init__(folder)
        self._metadata = metadata

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """Metadata of the checkpoint."""
        return self._metadata


class PlainPlanner(DefaultLoadPlanner):
    """Load plans for a flat state dict; entries that are not tensors are plain values."""

    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        """Read a plain value into the state dict."""
        self.original_state_dict[read_item.dest_index.fqn] = torch.load(value, weights_only=True)
