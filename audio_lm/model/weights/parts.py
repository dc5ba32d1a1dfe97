"""Save and load the weights of a model, with one safetensors file per part.

Loading is all or nothing: if a weight is missing, extra or of another shape, the error lists these weights and the
model is not changed. Optimizer and training states are saved elsewhere.
"""

from collections.abc import Collection, Mapping
from pathlib import Path

from torch import Tensor, nn

from audio_lm.common.errors import CheckpointError
from audio_lm.model.weights.files import first_few, gather_and_write, read_file
from audio_lm.model.weights.part_names import SUFFIX, is_update, plain_name
from audio_lm.model.weights.shards import copy_to_local


def save_model(model: nn.Module, folder: Path, *, parts: Collection[str] | None = None) -> None:
    """Write ``<part>.safetensors`` for each part, each file atomically.

    All ranks must call this for a sharded model. Weights are gathered one at a time, and rank 0 writes them.
    """
    for name, weights in weights_by_part(model, parts).items():
        gather_and_write(weights, folder / f"{name}.safetensors")


def load_weights(model: nn.Module, folder: Path, parts: Collection[str] | None = None) -> None:
    """Load weights that ``save_model`` wrote.

    Raises:
        CheckpointError: a file is missing or unreadable, or its weights do not fit the part.
    """
    wanted_of_part = weights_by_part(model, parts)
    fill_parts(wanted_of_part, read_parts(folder, wanted_of_part), source=str(folder))


def read_parts(folder: Path, parts: Collection[str]) -> dict[str, dict[str, Tensor]]:
    """Read the weights of parts that ``save_model`` wrote: part -> name -> weight.

    Raises:
        CheckpointError: a file is missing or unreadable.
    """
    return {name: read_file(folder / f"{name}.safetensors") for name in parts}


def fill_parts(
    wanted_of_part: Mapping[str, Mapping[str, Tensor]],
    weights_of_part: Mapping[str, Mapping[str, Tensor]],
    *,
    source: str,
) -> None:
    """Copy weights into several parts; on error no part is changed.

    Args:
        wanted_of_part: the weights to overwrite; see ``weights_of``.
        source: origin of the weights, for messages.

    Raises:
        CheckpointError: the weights do not fit the parts.
    """
    check_parts(wanted_of_part, weights_of_part, source=source)
    for name, wanted in wanted_of_part.items():
        _copy(wanted, weights_of_part[name])


def check_parts(
    wanted_of_part: Mapping[str, Mapping[str, Tensor]],
    weights_of_part: Mapping[str, Mapping[str, Tensor]],
    *,
    source: str,
) -> None:
    """Check that weights fit several parts; see ``fill_parts``.

    Raises:
        CheckpointError: they do not.
    """
    problems = [
        f"{name}: {problem}"
        for name, wanted in wanted_of_part.items()
        for problem in _mismatches(wanted, weights_of_part.get(name, {}))
    ]
    if problems:
        raise CheckpointError(_mismatch_message(source, problems))


def fill(part: nn.Module, weights: Mapping[str, Tensor], *, source: str) -> None:
    """Copy weights into a part, converted to its precision.

    Raises:
        CheckpointError: the weights do not fit the part.
    """
    if problems := find_mismatches(part, weights):
        raise CheckpointError(_mismatch_message(source, problems))
    _copy(weights_of(part), weights)


def _copy(wanted: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    for name, tensor in wanted.items():
        copy_to_local(tensor, weights[name])


def weights_of(part: nn.Module) -> dict[str, Tensor]:
    """Name -> weight or persistent buffer, without low-rank updates; tied weights have only their first name."""
    seen: set[int] = set()
    named = {}
    for name, tensor in part.state_dict(keep_vars=True).items():
        if id(tensor) not in seen and not is_update(name):
            seen.add(id(tensor))
            named[plain_name(name)] = tensor
    return named


def updates_of(part: nn.Module) -> dict[str, Tensor]:
    """Name -> weight of a low-rank update."""
    named = part.state_dict(keep_vars=True).items()
    return {plain_name(name): tensor for name, tensor in named if is_update(name)}


def find_mismatches(part: nn.Module, weights: Mapping[str, Tensor]) -> list[str]:
    """Differences between weights and a part: missing and extra weights, and other shapes."""
    return _mismatches(weights_of(part), weights)


def _mismatches(wanted: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> list[str]:
    shapes = [
        f"{name} has shape {tuple(weights[name].shape)} and not {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    missing = [f"{name} is missing" for name in wanted if name not in weights]
    return missing + [f"{name} is extra" for name in weights if name not in wanted] + shapes


def weights_by_part(model: nn.Module, parts: Collection[str] | None = None) -> dict[str, dict[str, Tensor]]:
    """Weights of each part; the low-rank updates of a part are a separate part."""
    named: dict[str, dict[str, Tensor]] = {}
    for name, child in model.named_children():
        named[name] = weights_of(child)
        if updates := updates_of(child):
            named[f"{name}{SUFFIX}"] = updates
    if unknown_parts := set(parts or ()) - named.keys():
        raise ValueError(f"no parts {sorted(unknown_parts)}; this model has {sorted(named)}")
    return {name: weights for name, weights in named.items() if parts is None or name in parts}


def _mismatch_message(source: str, problems: list[str]) -> str:
    return (
        f"{source} does not fit the model: {first_few(problems)} -- weights must be those of the same "
        f"architecture -- give the model's own checkpoint or change the recipe's model"
    )
