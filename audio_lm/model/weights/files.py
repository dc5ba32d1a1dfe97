"""Weights of other programs on disk: safetensors, in one file or in shards with an index.

What is read is whole or refused; pickled weights are refused, since reading one can run code.
Whose names the weights have is not known here.

Source: the folders of ``transformers``, whose index names the shard of every tensor.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import hf_hub_download, snapshot_download, split_torch_state_dict_into_shards
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from audio_lm.common.env import is_main
from audio_lm.common.errors import CheckpointError
from audio_lm.common.files import atomic_write, write_text

CONFIG = "config.json"
ONE_FILE = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt")
# A hub folder may hold the same weights again in other precisions and formats.
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


def published_folder(folder_or_name: str, *, what: str) -> Path:
    """The folder itself, or where the hub's copy lies after it was downloaded.

    Args:
        what: for the sentence when there is none, such as ``encoder``.

    Raises:
        CheckpointError: neither a folder nor a name on the hub.
    """
    folder = Path(folder_or_name)
    if folder.is_dir():
        return folder
    if folder.is_file():
        raise _refused_file(folder)
    try:
        return Path(snapshot_download(folder_or_name, allow_patterns=list(WANTED)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        raise CheckpointError(
            f"{what} {folder_or_name!r} is no folder and cannot be downloaded; give a folder with safetensors files or "
            f"a name on the hub"
        ) from error


def config_folder(folder_or_name: str, *, what: str) -> Path:
    """The folder of a published model's ``config.json``; of a hub name nothing else is downloaded.

    Args:
        what: see ``published_folder``.

    Raises:
        CheckpointError: neither a folder nor a name on the hub.
    """
    if Path(folder_or_name).exists():
        return published_folder(folder_or_name, what=what)
    try:
        return Path(hf_hub_download(folder_or_name, CONFIG)).parent
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        raise CheckpointError(
            f"{what} {folder_or_name!r} is no folder and its {CONFIG} cannot be downloaded; give a folder, a name on the "
            f"hub, or all sizes in the recipe"
        ) from error


def read_config(folder: Path) -> dict[str, Any] | None:
    """The content of a folder's ``config.json``; none where there is no such file.

    Raises:
        CheckpointError: the file is no JSON object.
    """
    path = folder / CONFIG
    if not path.is_file():
        return None
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path} cannot be read ({error}); copy it from where the weights come from"
        ) from error
    if not isinstance(config, dict):
        raise CheckpointError(
            f"{path} holds a {type(config).__name__} and no object; copy it from where the weights come from"
        )
    return config


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder, by name.

    Raises:
        CheckpointError: a shard or one of its tensors is missing, a file is damaged, or there are only pickles.
    """
    if (folder / INDEX).is_file():
        return _read_shards(folder)
    one = folder / ONE_FILE
    files = [one] if one.is_file() else sorted(folder.glob("*.safetensors"))
    if not files:
        raise _nothing_readable(folder)
    return {name: tensor for file in files for name, tensor in read_file(file).items()}


def read_file(file: Path) -> dict[str, Tensor]:
    """All tensors of one safetensors file.

    Raises:
        CheckpointError: it is not there or not whole.
    """
    try:
        return load_file(file)
    except FileNotFoundError as error:
        raise CheckpointError(f"{file} does not exist; give a folder that has its weights in it") from error
    except SafetensorError as error:
        raise CheckpointError(f"{file} is no whole safetensors file ({error}); write it again") from error


def write_weights(weights: Mapping[str, Tensor], folder: Path, *, max_bytes: int) -> list[Path]:
    """Write tensors as one file, or as shards and their index; each file appears whole or not at all.

    Args:
        max_bytes: of one file; a tensor larger than that has a file to itself.

    Returns:
        The files that hold weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    split = split_torch_state_dict_into_shards(dict(weights), max_shard_size=max_bytes)
    for file_name, names in split.filename_to_tensors.items():
        with atomic_write(folder / file_name) as file:
            tensors = {name: weights[name].detach() for name in names}
            _write_tensors(tensors, file.write, metadata={"format": "pt"})
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        write_text(folder / INDEX, json.dumps(index, indent=2) + "\n")
    return [folder / file_name for file_name in split.filename_to_tensors]


def write_in_turn(weights: Mapping[str, Tensor], path: Path) -> None:
    """Write one safetensors file, tensor after tensor, so that only one is ever gathered from the ranks.

    All ranks have to call this where a tensor is shared out; the first one writes. The file is that of
    ``save_file``, and appears whole or not at all.

    Source: the format of safetensors, whose tensors lie in the order of their precision and then of their names.
    """
    with _first_rank_writes(path) as write:
        _write_tensors(weights, write)


def _write_tensors(
    weights: Mapping[str, Tensor],
    write: Callable[[bytes | memoryview], object],
    *,
    metadata: Mapping[str, str] | None = None,
) -> None:
    from audio_lm.model.weights.shards import (
        whole_of,  # imports DTensor, which takes half a second that plans need not wait
    )

    names = sorted(weights, key=lambda name: (-weights[name].element_size(), name))
    header, end = dict[str, Any](), 0
    if metadata:
        header["__metadata__"] = dict(metadata)
    for name in names:
        one = weights[name]
        begin, end = end, end + one.numel() * one.element_size()
        kind = NAME_OF_PRECISION[one.dtype]
        header[name] = {"dtype": kind, "shape": list(one.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    write(len(text).to_bytes(8, "little") + text)
    for name in names:
        values = whole_of(weights[name]).cpu().contiguous()
        write(values.reshape(-1).view(torch.uint8).numpy().data)


@contextmanager
def _first_rank_writes(path: Path) -> Iterator[Callable[[bytes | memoryview], object]]:
    if not is_main():
        yield len
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        yield file.write


def some_of(problems: list[str]) -> str:
    """The first few of a list as one clause, and how many more there are."""
    more = f" and {len(problems) - NUM_LISTED} more" if len(problems) > NUM_LISTED else ""
    return "; ".join(problems[:NUM_LISTED]) + more


def _read_shards(folder: Path) -> dict[str, Tensor]:
    index = folder / INDEX
    try:
        shard_of_tensor = dict(json.loads(index.read_text(encoding="utf-8"))["weight_map"])
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{index} is no index of shards ({error}); copy it from where the weights come from"
        ) from error
    shards = sorted(set(shard_of_tensor.values()))
    if absent := [f"{name} is missing" for name in shards if not (folder / name).is_file()]:
        raise CheckpointError(
            f"{folder}: of {len(shards)} files with weights {some_of(absent)} -- all that {INDEX} names must be there "
            f"-- copy them as well"
        )
    weights = {name: tensor for shard in shards for name, tensor in read_file(folder / shard).items()}
    if problems := [f"{name} is missing" for name in shard_of_tensor if name not in weights]:
        raise CheckpointError(
            f"{folder}: {some_of(problems)}, though {INDEX} names it; write the files again"
        )
    return weights


def _nothing_readable(folder: Path) -> CheckpointError:
    pickles = sorted(file for file in folder.iterdir() if file.suffix in PICKLES)
    if pickles:
        return _refused_file(pickles[0])
    return CheckpointError(
        f"{folder} has no safetensors files; give a folder with {ONE_FILE} or with shards and their {INDEX}"
    )


def _refused_file(file: Path) -> CheckpointError:
    if file.suffix not in PICKLES:
        return CheckpointError(f"{file} is a file; give the folder it lies in")
    return CheckpointError(
        f"{file} is pickled, and reading such a file can run code -- safetensors are read and nothing else -- convert it "
        f"once with weights = torch.load('{file.name}', weights_only=True); "
        f"safetensors.torch.save_file(weights.get('model_state_dict', weights), '{ONE_FILE}')"
    )
