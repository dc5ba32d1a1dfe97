"""What of a training is in a checkpoint: trained weights and buffers, and what the optimizer keeps of them.

Frozen weights are not there; a digest of each part tells whether they are the same. Names are
those of the model without wrappers, so that what is compiled, or recomputed, may be another when a stage goes on.
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
from torch.distributed.checkpoint.state_dict_loader import load as load_together
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
MOST_NAMED = 6
ARCHIVE = b"PK\x03\x04"  # what torch writes begins so


def unwrapped_name(name: str) -> str:
    """A parameter's name without what is wrapped around its module.

    >>> unwrapped_name("encoder._orig_mod.layers.0._checkpoint_wrapped_module.fc1.weight")
    'encoder.layers.0.fc1.weight'
    """
    for wrapper in WRAPPERS:
        name = name.replace(wrapper, "")
    return name


def weights(model: nn.Module, trained: Collection[str]) -> dict[str, Tensor]:
    """Trained parameters and all persistent buffers, themselves and no copies.

    Args:
        trained: names of the parameters that learn at any step of the stage, as the model has them.
    """
    parameters = dict(model.named_parameters())
    named = {unwrapped_name(name): parameters[name].detach() for name in trained}
    for name, value in model.state_dict(keep_vars=True).items():
        if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
            named[unwrapped_name(name)] = value.detach()
    return {MODEL + name: value for name, value in named.items()}


def optimizer_values(model: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    """What an optimizer keeps, by the name of the parameter; of parameters it never moved there is nothing."""
    return {
        f"{OPTIMIZER}{name}/{key}": value
        for name, parameter in _named(model)
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def _named(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    for name, parameter in model.named_parameters():
        yield unwrapped_name(name), parameter


def trainable_digest(model: nn.Module, trained: Collection[str]) -> str:
    """Of names, shapes and types of what learns."""
    there = sorted(
        (name.removeprefix(MODEL), list(value.shape), str(value.dtype))
        for name, value in weights(model, trained).items()
    )
    return hashlib.sha256(json.dumps(there).encode()).hexdigest()[:16]


def frozen_digests(model: nn.Module, trained: Collection[str]) -> dict[str, str]:
    """Of the values of what never learns, part by part; sharded or not, the same. All ranks together."""
    learns = {unwrapped_name(name) for name in trained}
    digests: dict[str, Any] = defaultdict(hashlib.sha256)
    for name, parameter in _named(model):
        if name not in learns:
            whole = parameter.detach()
            whole = whole.full_tensor() if isinstance(whole, DTensor) else whole
            values = whole.reshape(-1).contiguous().cpu().view(torch.uint8).numpy()
            said = f"{name} {tuple(whole.shape)} {whole.dtype} {zlib.crc32(values.data)}\n"
            digests[name.partition(".")[0]].update(said.encode())
    return {part: digest.hexdigest()[:16] for part, digest in digests.items()}


def check_frozen(checkpoint: Checkpoint, digests: Mapping[str, str]) -> None:
    """Refuse a checkpoint that was written beside other frozen weights.

    Raises:
        CheckpointError: names the parts.
    """
    before = checkpoint.manifest.facts.get("frozen", {})
    if changed := sorted(
        part for part in before.keys() | digests.keys() if before.get(part) != digests.get(part)
    ):
        raise CheckpointError(
            f"{checkpoint.path} is refused because frozen weights of {changed} are not those it was written beside -- a stage "
            f"goes on with what it began with -- put them back, or begin it anew without resume"
        )


def progress_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """The plain values of a checkpoint; none where they are nonsense."""
    return read_table(checkpoint.path / PROGRESS)


def content_fault(
    path: Path, manifest: CheckpointManifest, *, facts: Collection[str], progress: Collection[str]
) -> str | None:
    """What is wrong with the content of files that are those that were written; None when nothing is.

    Args:
        facts: keys that the manifest has to have.
        progress: keys that the plain values have to have.
    """
    values = progress_of(Checkpoint(path, manifest))
    if lacking := [key for key in progress if key not in values]:
        return f"{PROGRESS} does not say {', '.join(lacking)}"
    if lacking := [key for key in facts if key not in manifest.facts]:
        return f"{FILE} does not say {', '.join(lacking)}"
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
    """Fill a model, and an optimizer, with what a checkpoint has; by whatever ranks it was written.

    Args:
        optimizer: fresh, over the parameters of the model; none for the weights alone.

    Raises:
        CheckpointError: it is of other parameters, which are named, or cannot be read.
    """
    metadata = metadata_of(checkpoint.path, checkpoint.manifest)
    wanted = weights(model, trained)
    check_parameters(checkpoint.path, metadata, wanted)
    values = {} if optimizer is None else _room_for(metadata, model)
    together: dict[str, Any] = {**wanted, **values}
    try:
        load_together(
            together,
            storage_reader=RestrictedReader(checkpoint.path, metadata),
            planner=PlainPlanner(),
            process_group=None if group is None else group.process_group,
            no_dist=group is None or group.process_group is None,
        )
    except CheckpointException as error:
        (first, _), *_ = error.failures.values()
        why = f"{type(first).__name__}: {str(first).partition(chr(10))[0]}"
        raise CheckpointError(
            f"{checkpoint.path} cannot be read: {why} -- expected what its manifest names -- take another checkpoint"
        ) from error
    if optimizer is not None:
        _fill(optimizer, model, {name: together[name] for name in values})


def check_parameters(path: Path, metadata: Metadata, wanted: Mapping[str, Tensor]) -> None:
    """Refuse a checkpoint of other parameters than those that learn now.

    Raises:
        CheckpointError: names the first of them.
    """
    there = {
        name: tuple(entry.size) if isinstance(entry, TensorStorageMetadata) else None
        for name, entry in metadata.state_dict_metadata.items()
        if name.startswith(MODEL)
    }
    problems = [f"{name.removeprefix(MODEL)} is not in it" for name in wanted if name not in there]
    problems += [f"{name.removeprefix(MODEL)} does not learn now" for name in there if name not in wanted]
    problems += [
        f"{name.removeprefix(MODEL)} has shape {there[name]} and not {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in there and there[name] != tuple(value.shape)
    ]
    if problems:
        more = f" and {len(problems) - MOST_NAMED} more" if len(problems) > MOST_NAMED else ""
        raise CheckpointError(
            f"{path} is refused because other parameters learn: {'; '.join(problems[:MOST_NAMED])}{more} -- a stage goes on "
            f"with what it began with -- put its parts back, or begin it anew without resume"
        )


def _room_for(metadata: Metadata, model: nn.Module) -> dict[str, Any]:
    """Empty values for everything that an optimizer had kept; of a sharded parameter's shape, sharded like it."""
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


def _fill(optimizer: Optimizer, model: nn.Module, values: Mapping[str, Any]) -> None:
    """Through the optimizer's own loading, which puts every value where its kind belongs."""
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
