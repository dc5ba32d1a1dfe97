"""Read and write folders of published weights: safetensors, in one file or in shards with an index.

Incomplete weights are rejected. So are pickled weights, because loading a pickle can run code. This module does not
interpret the names of weights.

Source: folders of ``transformers``, whose index has the shard of every tensor.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from huggingface_hub import hf_hub_download, snapshot_download, split_torch_state_dict_into_shards
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from audio_lm.common.env import is_main
from audio_lm.common.errors import CheckpointError
from audio_lm.common.files import atomic_write, write_text
from audio_lm.common.protocols import Advance

CONFIG = "config.json"
ONE_FILE = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt")
# Files to download: a hub folder may have the same weights again in other precisions and formats.
WANTED = (ONE_FILE, INDEX, "model-*.safetensors", "*.json", "*.txt", "*.jinja", "*.tiktoken")
NUM_LISTED = 5
NAME_OF_PRECISION = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def published_folder(folder_or_name: str, *, what: str, wanted: Sequence[str] = WANTED) -> Path:
    """Path of a local folder, or of the downloaded copy of a hub repository.

    Args:
        what: kind of model for messages, such as ``encoder``.
        wanted: patterns of the files to download.

    Raises:
        CheckpointError: there is neither such a folder nor such a hub name.
    """
    folder = Path(folder_or_name)
    if folder.is_dir():
        return folder
    if folder.is_file():
        raise _file_error(folder)
    try:
        return Path(snapshot_download(folder_or_name, allow_patterns=list(wanted)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        raise CheckpointError(
            f"{what} {folder_or_name!r} is no folder and cannot be downloaded; give a folder with safetensors files or "
            f"a hub name"
        ) from error


def config_folder(folder_or_name: str, *, what: str) -> Path:
    """Folder of a published model's ``config.json``; from the hub only this file is downloaded.

    Args:
        what: see ``published_folder``.

    Raises:
        CheckpointError: there is neither such a folder nor such a hub name.
    """
    if Path(folder_or_name).exists():
        return published_folder(folder_or_name, what=what)
    try:
        return Path(hf_hub_download(folder_or_name, CONFIG)).parent
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        raise CheckpointError(
            f"{what} {folder_or_name!r} is no folder and its {CONFIG} cannot be downloaded; give a folder, a hub name, "
            f"or all sizes in the recipe"
        ) from error


def read_config(folder: Path) -> dict[str, Any] | None:
    """Content of a folder's ``config.json``; None if there is no such file.

    Raises:
        CheckpointError: the file is not a JSON object.
    """
    path = folder / CONFIG
    if not path.is_file():
        return None
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path} cannot be read ({error}); copy it from the source of the weights"
        ) from error
    if not isinstance(config, dict):
        raise CheckpointError(
            f"{path} holds a {type(config).__name__}, expected an object; copy it from the source of the weights"
        )
    return config


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Read all tensors of a folder, by name.

    Raises:
        CheckpointError: a shard or one of its tensors is missing, a file is damaged, or there are only pickles.
    """
    if (folder / INDEX).is_file():
        return _read_shards(folder)
    path = folder / ONE_FILE
    files = [path] if path.is_file() else sorted(folder.glob("*.safetensors"))
    if not files:
        raise _no_weights_error(folder)
    return {name: tensor for file in files for name, tensor in read_file(file).items()}


def read_file(file: Path) -> dict[str, Tensor]:
    """Read all tensors of one safetensors file.

    Raises:
        CheckpointError: the file is missing, incomplete or damaged.
    """
    try:
        return load_file(file)
    except FileNotFoundError as error:
        raise CheckpointError(f"{file} does not exist; give a folder that has these weights") from error
    except SafetensorError as error:
        raise CheckpointError(f"{file} is no complete safetensors file ({error}); write it again") from error


def write_weights(
    weights: Mapping[str, Tensor],
    folder: Path,
    *,
    max_bytes: int,
    dtype: torch.dtype | None = None,
    advance: Advance | None = None,
) -> list[Path]:
    """Write tensors as one file, or as shards and an index; each file is written atomically.

    Args:
        max_bytes: maximum size of a file; a larger tensor gets its own file.
        dtype: converts the tensors of one file at a time, so that memory never holds all of them twice.
        advance: called with the number of bytes after each file.

    Returns:
        Paths of the weight files, without the index.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shapes = {name: tensor.to("meta", dtype or tensor.dtype) for name, tensor in weights.items()}
    split = split_torch_state_dict_into_shards(shapes, max_shard_size=max_bytes)
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        write_text(folder / INDEX, json.dumps(index, indent=2) + "\n")
    for file_name, names in split.filename_to_tensors.items():
        tensors = {name: weights[name].detach().to(dtype=dtype or weights[name].dtype) for name in names}
        with atomic_write(folder / file_name) as file:
            _write_tensors(tensors, file.write, metadata={"format": "pt"})
        if advance is not None:
            advance(sum(tensor.nbytes for tensor in tensors.values()))
    return [folder / file_name for file_name in split.filename_to_tensors]


def gather_and_write(weights: Mapping[str, Tensor], path: Path) -> None:
    """Write one safetensors file tensor by tensor, so that only one full tensor is in memory at a time.

    All ranks must call this if a tensor is sharded; rank 0 writes. The file is identical to that of ``save_file``
    and is written atomically.

    Source: the safetensors format; tensors are ordered by element size, largest first, then by name.
    """
    with _open_on_rank_0(path) as write:
        _write_tensors(weights, write)


class WriteBytes(Protocol):
    """Writer of a file."""

    def __call__(self, data: bytes | memoryview, /) -> object:
        """Append bytes."""


def _write_tensors(
    weights: Mapping[str, Tensor],
    write: WriteBytes,
    *,
    metadata: Mapping[str, str] | None = None,
) -> None:
    # Imported here: DTensor takes half a second to import, and plans do not need it.
    from audio_lm.model.weights.shards import full_tensor

    names = sorted(weights, key=lambda name: (-weights[name].element_size(), name))
    header, end = dict[str, Any](), 0
    if metadata:
        header["__metadata__"] = dict(metadata)
    for name in names:
        tensor = weights[name]
        start, end = end, end + tensor.numel() * tensor.element_size()
        dtype = NAME_OF_PRECISION[tensor.dtype]
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    write(len(text).to_bytes(8, "little") + text)
    for name in names:
        values = full_tensor(weights[name]).cpu().contiguous()
        write(values.reshape(-1).view(torch.uint8).numpy().data)


@contextmanager
def _open_on_rank_0(path: Path) -> Iterator[WriteBytes]:
    if not is_main():
        yield len  # discards the bytes
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        yield file.write


def first_few(problems: list[str]) -> str:
    """Join the first few problems of a list and the number of the others into one clause."""
    more = f" and {len(problems) - NUM_LISTED} more" if len(problems) > NUM_LISTED else ""
    return "; ".join(problems[:NUM_LISTED]) + more


def _read_shards(folder: Path) -> dict[str, Tensor]:
    index = folder / INDEX
    try:
        shard_of_tensor = dict(json.loads(index.read_text(encoding="utf-8"))["weight_map"])
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{index} is no index of shards ({error}); copy it from the source of the weights"
        ) from error
    shards = sorted(set(shard_of_tensor.values()))
    if missing := [f"{name} is missing" for name in shards if not (folder / name).is_file()]:
        raise CheckpointError(
            f"{folder}: of {len(shards)} weight files {first_few(missing)} -- all files that {INDEX} lists are required "
            f"-- copy the missing ones"
        )
    weights = {name: tensor for shard in shards for name, tensor in read_file(folder / shard).items()}
    if problems := [f"{name} is missing" for name in shard_of_tensor if name not in weights]:
        raise CheckpointError(
            f"{folder}: {first_few(problems)}, although {INDEX} lists it; write the files again"
        )
    return weights


def _no_weights_error(folder: Path) -> CheckpointError:
    pickles = sorted(file for file in folder.iterdir() if file.suffix in PICKLES)
    if pickles:
        return _file_error(pickles[0])
    return CheckpointError(
        f"{folder} has no safetensors files; give a folder with {ONE_FILE} or with shards and their {INDEX}"
    )


def _file_error(file: Path) -> CheckpointError:
    if file.suffix not in PICKLES:
        return CheckpointError(f"{file} is a file; give its folder")
    return CheckpointError(
        f"{file} is pickled, and loading such a file can run code -- only safetensors files are read -- convert it "
        f"once with weights = torch.load('{file.name}', weights_only=True); "
        f"safetensors.torch.save_file(weights.get('model_state_dict', weights), '{ONE_FILE}')"
    )
