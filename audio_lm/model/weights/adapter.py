"""LoRA adapters of a Qwen2-Audio in the format of peft: read, check and write them.

An adapter is a folder with ``adapter_config.json`` and ``adapter_model.safetensors``, as peft, transformers and ms-swift
write it. The files decide which layers it updates; the configuration gives the scale of each update. Everything else that
peft can train with an adapter is rejected. This module knows no model: ``model.lora`` applies an adapter.

Source: ``LoraConfig`` and ``save_pretrained`` of peft 0.21; names of modules of transformers 4.57 and 5.23.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from audio_lm.common.errors import CheckpointError
from audio_lm.common.files import write_text
from audio_lm.model.config import LoraConfig
from audio_lm.model.weights.convert import by_part, from_qwen2_audio, to_qwen2_audio_5
from audio_lm.model.weights.files import first_few, gather_and_write, published_folder, read_file

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
PEFT_MODULE = {
    "encoder": "audio_tower",
    "projector": "multi_modal_projector",
    "language_model": "language_model",
}
"""Part -> name of its module in a Qwen2-Audio of transformers 4 and 5."""

UPDATE = re.compile(r"(.+)\.lora_[AB]\.weight")
READ = {"peft_type", "r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "init_lora_weights"}
WITHOUT_EFFECT = READ | {
    # The files decide which layers have an update.
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"),
    # Settings of training, of other settings that are rejected, and facts about the origin.
    *("lora_dropout", "inference_mode", "fan_in_fan_out", "megatron_core", "qalora_group_size", "eva_config"),
    *(
        "ensure_weight_tying",
        "task_type",
        "auto_mapping",
        "base_model_name_or_path",
        "revision",
        "peft_version",
    ),
}
"""Settings of ``LoraConfig`` that do not change the result, or that are read here."""

KEPT_BASE = (True, False, None, "gaussian", "orthogonal", "eva")
"""Values of ``init_lora_weights`` with which training starts from the unchanged base; PiSSA and others change it."""

MAX_PATTERN = 200
SLOW = re.compile(r"\)\s*[*+{]")  # a repeated group: the time to match it can be exponential


@dataclass(frozen=True)
class Adapter:
    """Low-rank updates of a model: part -> layer -> its update, all names as in this project."""

    source: str
    updates: dict[str, dict[str, "Update"]]


@dataclass(frozen=True)
class Update:
    """Update of one linear layer: its weight changes by ``scale * up @ down``."""

    down: Tensor  # (rank, in), "lora_A"
    up: Tensor  # (out, rank), "lora_B"
    scale: float

    @property
    def rank(self) -> int:
        """Rank of the update."""
        return int(self.down.shape[0])

    def change(self) -> Tensor:
        """(out, in) change of the weight, in 32 bits."""
        return self.scale * (self.up.float() @ self.down.float())


def read_adapter(folder_or_name: str) -> Adapter:
    """Read an adapter from a folder or from the hub.

    Raises:
        CheckpointError: it is incomplete, belongs to another kind of model, or has more than low-rank updates.
    """
    folder = published_folder(folder_or_name, what="adapter", wanted=(CONFIG, WEIGHTS))
    config = _read_config(folder)
    if not (folder / WEIGHTS).is_file() and (pickled := folder / "adapter_model.bin").is_file():
        raise CheckpointError(
            f"{pickled} is pickled, and loading such a file can run code -- expected {WEIGHTS} -- save the adapter again "
            f"with save_pretrained of peft"
        )
    weights = {name.removeprefix(PREFIX): tensor for name, tensor in read_file(folder / WEIGHTS).items()}
    if others := [f"{PREFIX}{name} is no update" for name in weights if UPDATE.fullmatch(name) is None]:
        raise CheckpointError(
            f"{folder / WEIGHTS}: {first_few(others)} -- expected lora_A and lora_B of linear layers only -- {_merge_it()}"
        )
    if not weights:
        raise CheckpointError(f"{folder / WEIGHTS} has no tensors; save the adapter again after training")
    layers = from_qwen2_audio(_updates(weights, config, folder), source=str(folder))
    return Adapter(folder_or_name, by_part(layers))


def write_adapter(
    weights: Mapping[str, Tensor], lora: Mapping[str, LoraConfig], folder: Path, *, base: str
) -> None:
    """Write the updates of a model as an adapter of a Qwen2-Audio in transformers 5.

    Args:
        weights: ``<part>.<layer>.lora_A.weight`` and so on.
        lora: settings of every part that has updates.
        base: folder or hub name of the model that they were trained on.
    """
    named = {f"{PREFIX}{name}": tensor for name, tensor in to_qwen2_audio_5(weights).items()}
    gather_and_write(named, folder / WEIGHTS)
    write_text(folder / CONFIG, json.dumps(_config(weights, lora, base), indent=2, sort_keys=True) + "\n")


def _config(weights: Mapping[str, Tensor], lora: Mapping[str, LoraConfig], base: str) -> dict[str, Any]:
    """Content of ``adapter_config.json``; of several parts, the last one has the general settings."""
    *others, main = lora
    targets = []
    for part in lora:
        layers = sorted(
            {
                name.split(".")[-3]
                for name in weights
                if name.startswith(f"{part}.") and UPDATE.fullmatch(name)
            }
        )
        targets.append(rf"(.*\.)?{PEFT_MODULE[part]}\.(.*\.)?({'|'.join(layers)})")
    return {
        "peft_type": "LORA",
        "base_model_name_or_path": base,
        "inference_mode": True,
        "bias": "none",
        "r": lora[main].rank,
        "lora_alpha": lora[main].alpha,
        "lora_dropout": lora[main].dropout,
        "rank_pattern": {rf"{PEFT_MODULE[part]}\..*": lora[part].rank for part in others},
        "alpha_pattern": {rf"{PEFT_MODULE[part]}\..*": lora[part].alpha for part in others},
        "target_modules": "|".join(targets),
    }


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; give the folder that save_pretrained of peft wrote")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path} cannot be read ({error}); copy it from the source of the adapter"
        ) from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} holds a {type(config).__name__}, expected an object; copy it again")
    unsupported = [
        f"{name} is {value!r}"
        for name, value in config.items()
        if name not in WITHOUT_EFFECT and value and (name, value) != ("bias", "none")
    ]
    if config.get("peft_type") != "LORA":
        unsupported.insert(0, f"peft_type is {config.get('peft_type')!r}")
    if config.get("init_lora_weights") not in KEPT_BASE:
        unsupported.append(f"init_lora_weights is {config['init_lora_weights']!r}, which changes the base")
    if unsupported:
        raise CheckpointError(
            f"{path}: {first_few(unsupported)} -- expected plain LoRA: no bias, no DoRA, no modules_to_save -- {_merge_it()}"
        )
    return config


def _merge_it() -> str:
    return "merge it into its base with merge_and_unload of peft, and give that folder as model.load"


def _updates(weights: Mapping[str, Tensor], config: Mapping[str, Any], folder: Path) -> dict[str, Update]:
    """Layer -> its update, under the names of the files.

    Raises:
        CheckpointError: one of the two matrices of an update is missing, or its rank is not that of the configuration.
    """
    updates, problems = {}, []
    for layer in dict.fromkeys(name.rsplit(".", 2)[0] for name in weights):
        names = [f"{layer}.lora_{matrix}.weight" for matrix in "AB"]
        missing = [f"{name} is missing" for name in names if name not in weights]
        problems += missing
        if missing:
            continue
        down, up = (weights[name] for name in names)
        rank = _setting(config, "r", "rank_pattern", layer, folder)
        alpha = _setting(config, "lora_alpha", "alpha_pattern", layer, folder)
        if down.ndim != 2 or up.ndim != 2 or not down.shape[0] == up.shape[1] == rank:
            problems.append(
                f"{layer} has shapes {tuple(down.shape)} and {tuple(up.shape)}, expected rank {rank:g} as in {CONFIG}"
            )
            continue
        updates[layer] = Update(down, up, alpha / (math.sqrt(rank) if config.get("use_rslora") else rank))
    if problems:
        raise CheckpointError(
            f"{folder / WEIGHTS}: {first_few(problems)}; copy both files from the same source"
        )
    return updates


def _setting(config: Mapping[str, Any], name: str, patterns: str, layer: str, folder: Path) -> float:
    """Value of a setting for a layer; the first pattern that matches the end of its name takes precedence."""
    value, value_of = config.get(name), config.get(patterns) or {}
    try:
        if slow := [key for key in value_of if len(key) > MAX_PATTERN or SLOW.search(key)]:
            raise ValueError(f"the pattern {slow[0][:MAX_PATTERN]!r} could take for ever")
        found = (key for key in value_of if re.match(rf"(.*\.)?({key})$", layer))
        value = next((value_of[key] for key in found), value)
    except (TypeError, ValueError, re.error) as error:
        raise CheckpointError(
            f"{folder / CONFIG}: {patterns} cannot be read ({error}); write the names of the layers into it"
        ) from error
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise CheckpointError(
            f"{folder / CONFIG}: {name} is {value!r}, expected a number over 0; copy it again"
        )
    return value
