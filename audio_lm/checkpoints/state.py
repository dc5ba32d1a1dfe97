"""Training state in a checkpoint: trained weights, buffers and optimizer state.

Frozen weights are not saved; a digest of each part detects whether they changed. Names have no wrapper prefixes, so
a resumed stage may use other settings of torch.compile and activation checkpointing.
"""

import hashlib
import json
import zlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load as load_distributed
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from audio_lm.checkpoints.discovery import Checkpoint
from audio_lm.checkpoints.manifest import PROGRESS, CheckpointManifest
from audio_lm.checkpoints.process_group import Group
from audio_lm.checkpoints.safe_reader import PlainPlanner, RestrictedReader, metadata_of
from audio_lm.common.errors import CheckpointError
from audio_lm.common.files import read_table
from audio_lm.common.seals import FILE

MODEL, OPTIMIZER = "model/", "optimizer/"
WRAPPERS = ("_orig_mod.", "_checkpoint_wrapped_module.")
MAX_NAMED = 6
ARCHIVE = b"PK\x03\x04"  # first bytes of every entry: torch.save writes zip archives


def unwrapped_name(name: str) -> str:
    """Parameter name without the prefixes of module wrappers.

    >>> unwrapped_name("encoder._orig_mod.layers.0._checkpoint_wrapped_module.fc1.weight")
    'encoder.layers.0.fc1.weight'
    """
    for wrapper in WRAPPERS:
        name = name.replace(wrapper, "")
    return name


def weights(model: nn.Module, trained: Collection[str]) -> dict[str, Tensor]:
    """Trained parameters and all persistent buffers, not copied.

    Args:
        trained: names of parameters that are trained at any step of the stage, as in ``named_parameters``.
    """
    parameters = dict(model.named_parameters())
    named = {unwrapped_name(name): parameters[name].detach() for name in trained}
    for name, value in model.state_dict(keep_vars=True).items():
        if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
            named[unwrapped_name(name)] = value.detach()
    return {MODEL + name: value for name, value in named.items()}


def optimizer_values(model: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    """Optimizer state by parameter name; parameters without an update have none."""
    return {
        f"{OPTIMIZER}{name}/{key}": value
        for name, parameter in _named(model)
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def _named(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    for name, parameter in model.named_parameters():
        yield unwrapped_name(name), parameter


def trainable_digest(model: nn.Module, trained: Collection[str]) -> str:
    """Digest of names, shapes and dtypes of the trained parameters and the buffers."""
    entries = sorted(
        (name.removeprefix(MODEL), list(value.shape), str(value.dtype))
        for name, value in weights(model, trained).items()
    )
    return hashlib.sha256(json.dumps(entries).encode()).hexdigest()[:16]


def frozen_digests(model: nn.Module, trained: Collection[str]) -> dict[str, str]:
    """Digest of the frozen weights of each part, equal for sharded and unsharded models; all ranks call it together."""
    trained_names = {unwrapped_name(name) for name in trained}
    digests: dict[str, Any] = defaultdict(hashlib.sha256)
    for name, parameter in _named(model):
        if name not in trained_names:
            full = parameter.detach()
            full = full.full_tensor() if isinstance(full, DTensor) else full
            values = full.reshape(-1).contiguous().cpu().view(torch.uint8).numpy()
            entry = f"{name} {tuple(full.shape)} {full.dtype} {zlib.crc32(values.data)}\n"
            digests[name.partition(".")[0]].update(entry.encode())
    return {part: digest.hexdigest()[:16] for part, digest in digests.items()}


def check_frozen(checkpoint: Checkpoint, digests: Mapping[str, str]) -> None:
    """Refuse a checkpoint that was saved with other frozen weights.

    Raises:
        CheckpointError: names the parts with other weights.
    """
    before = checkpoint.manifest.facts.get("frozen", {})
    if changed := sorted(
        part for part in before.keys() | digests.keys() if before.get(part) != digests.get(part)
    ):
        raise CheckpointError(
            f"{checkpoint.path} is refused because frozen weights of {changed} are not those it was saved with -- a stage "
            f"continues with the weights that it started with -- restore them, or restart the stage with resume=never"
        )


def progress_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """Plain values of a checkpoint; empty if they cannot be read."""
    return read_table(checkpoint.path / PROGRESS)


def content_fault(
    path: Path, manifest: CheckpointManifest, *, facts: Collection[str], progress: Collection[str]
) -> str | None:
    """Fault in the content of files with correct checksums; None if there is none.

    Args:
        facts: required keys of the manifest.
        progress: required keys of the plain values.
    """
    values = progress_of(Checkpoint(path, manifest))
    if missing := [key for key in progress if key not in values]:
        return f"{PROGRESS} has no {', '.join(missing)}"
    if missing := [key for key in facts if key not in manifest.facts]:
        return f"{FILE} has no {', '.join(missing)}"
    try:
        metadata = metadata_of(path, manifest)
    except CheckpointError as error:
        return str(error)
    for place in metadata.storage_data.values():
        shard = path / str(place.relative_path)
        with shard.open("rb") as file:
            file.seek(place.offset)
            if place.offset + place.length > shard.stat().st_size or file.read(len(ARCHIVE)) != ARCHIVE:
                return f"{shard.name} holds no tensor at byte {place.offset}"
    return None


def load(
    checkpoint: Checkpoint,
    model: nn.Module,
    trained: Collection[str],
    optimizer: Optimizer | None = None,
    group: Group | None = None,
) -> None:
    """Load a checkpoint into a model and an optimizer; the number of ranks may differ from that of the save.

    Args:
        optimizer: new, over the parameters of the model; None loads weights only.

    Raises:
        CheckpointError: it has other parameters, which are named, or cannot be read.
    """
    metadata = metadata_of(checkpoint.path, checkpoint.manifest)
    wanted = weights(model, trained)
    check_parameters(checkpoint.path, metadata, wanted)
    values = {} if optimizer is None else _empty_optimizer_values(metadata, model)
    state_dict: dict[str, Any] = {**wanted, **values}
    try:
        load_distributed(
            state_dict,
            storage_reader=RestrictedReader(checkpoint.path, metadata),
            planner=PlainPlanner(),
            process_group=None if group is None else group.process_group,
            no_dist=group is None or group.process_group is None,
        )
    except CheckpointException as error:
        (first, _), *_ = error.failures.values()
        why = f"{type(first).__name__}: {str(first).partition(chr(10))[0]}"
        raise CheckpointError(
            f"{checkpoint.path} cannot be read: {why} -- expected the files of its manifest -- use another checkpoint"
        ) from error
    if optimizer is not None:
        _load_optimizer(optimizer, model, {name: state_dict[name] for name in values})


def check_parameters(path: Path, metadata: Metadata, wanted: Mapping[str, Tensor]) -> None:
    """Refuse a checkpoint with other trained parameters than the stage has now.

    Raises:
        CheckpointError: names the first of them.
    """
    saved = {
        name: tuple(entry.size) if isinstance(entry, TensorStorageMetadata) else None
        for name, entry in metadata.state_dict_metadata.items()
        if name.startswith(MODEL)
    }
    problems = [f"{name.removeprefix(MODEL)} is not in it" for name in wanted if name not in saved]
    problems += [f"{name.removeprefix(MODEL)} is not trained now" for name in saved if name not in wanted]
    problems += [
        f"{name.removeprefix(MODEL)} has shape {saved[name]} and not {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in saved and saved[name] != tuple(value.shape)
    ]
    if problems:
        more = f" and {len(problems) - MAX_NAMED} more" if len(problems) > MAX_NAMED else ""
        raise CheckpointError(
            f"{path} is refused because other parameters are trained: {'; '.join(problems[:MAX_NAMED])}{more} -- a stage "
            f"continues with the parts that it started with -- restore them, or restart the stage with resume=never"
        )


def _empty_optimizer_values(metadata: Metadata, model: nn.Module) -> dict[str, Any]:
    """Empty values for the saved optimizer state; a value with the shape of a sharded parameter is sharded likewise."""
    parameters = dict(_named(model))
    values: dict[str, Any] = {}
    for name, entry in metadata.state_dict_metadata.items():
        if not name.startswith(OPTIMIZER):
            continue
        parameter = parameters[name.removeprefix(OPTIMIZER).rpartition("/")[0]].detach()
        if not isinstance(entry, TensorStorageMetadata):
            values[name] = None
        elif entry.size == parameter.shape and parameter.ndim:
            values[name] = torch.zeros_like(parameter, dtype=entry.properties.dtype)
        else:
            values[name] = torch.zeros(entry.size, dtype=entry.properties.dtype)
    return values


def _load_optimizer(optimizer: Optimizer, model: nn.Module, values: Mapping[str, Any]) -> None:
    """Load through ``load_state_dict`` of the optimizer, which casts each value to its dtype and device."""
    by_parameter: dict[str, dict[str, Any]] = defaultdict(dict)
    for full_name, value in values.items():
        name, _, key = full_name.removeprefix(OPTIMIZER).rpartition("/")
        by_parameter[name][key] = value
    name_of = {id(parameter): name for name, parameter in _named(model)}
    saved = optimizer.state_dict()
    state = {
        number: by_parameter[name_of[id(parameter)]]
        for group, numbers in zip(optimizer.param_groups, saved["param_groups"], strict=True)
        for parameter, number in zip(group["params"], numbers["params"], strict=True)
        if name_of[id(parameter)] in by_parameter
    }
    optimizer.load_state_dict({"state": state, "param_groups": saved["param_groups"]})
