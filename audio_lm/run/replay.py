"""Replay of a step whose gradient was not finite: its packs and weights are saved, and can be run again anywhere.

replay/step-N-rank-R.safetensors   packs of one rank
replay/step-N-weights/             weights before the step, one file per part
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from audio_lm.common.env import rank
from audio_lm.common.errors import DataError
from audio_lm.common.packed_batch import PackedBatch
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.weights.part_names import part_of
from audio_lm.model.weights.parts import load_weights, save_model
from audio_lm.pipeline.model import build_audio_lm, rates_of
from audio_lm.pipeline.trainer import answer_format, build_module
from audio_lm.run.console import run_console
from audio_lm.run.open import kept_vocabulary, open_run
from audio_lm.training.config import HardwareConfig
from audio_lm.training.step import TrainStep

PACKS_KEY = "audio_lm.packs"  # in the metadata of the file


@dataclass
class ReplayResult:
    """Loss and gradients of a replayed step."""

    loss: float = math.nan
    """Mean over the target tokens of the file."""

    norms: dict[str, float] = field(default_factory=dict)
    """Part -> norm of its gradient."""

    first_nonfinite: str | None = None
    """Name of the first value that is not finite; None if all are."""


def keep_packs(model: nn.Module, folder: Path, stage: str, step: int, packs: Sequence[PackedBatch]) -> Path:
    """Save the packs of this rank's step, and, together with all ranks, the weights before it.

    Args:
        folder: of the stage.
    """
    path = folder / "replay" / f"step-{step}-rank-{rank()}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors, plain = dict[str, Tensor](), list[dict[str, Any]]()
    for number, pack in enumerate(packs):
        values = {entry.name: getattr(pack, entry.name) for entry in fields(pack)}
        tensors |= {
            f"{number}.{name}": value.cpu() for name, value in values.items() if isinstance(value, Tensor)
        }
        plain.append({name: value for name, value in values.items() if not isinstance(value, Tensor)})
    description = {"stage": stage, "step": step, "packs": plain}
    save_file(tensors, path, metadata={PACKS_KEY: json.dumps(description)})
    save_model(model, _weights_folder(path, step))
    return path


def read_packs(path: Path) -> tuple[str, int, list[PackedBatch]]:
    """Read stage, step and packs from a file of ``keep_packs``.

    Raises:
        DataError: it is not such a file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            description = json.loads((file.metadata() or {})[PACKS_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise DataError(
            f"{path} holds no packs of a step ({error}); give a replay/step-N-rank-R.safetensors of a run"
        ) from error
    packs = []
    for number, plain in enumerate(description["packs"]):
        prefix = f"{number}."
        own = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        packs.append(PackedBatch(**own, **{name: _as_tuples(value) for name, value in plain.items()}))
    return description["stage"], description["step"], packs


def replay(path: Path, console: Console | None = None, *, trusts_code: bool = False) -> ReplayResult:
    """Run the packs of a file again, on the CPU, and print where the first value that is not finite appears.

    Raises:
        UserError: the file, its weights or its run are missing.
    """
    console = console or run_console()
    stage, step, packs = read_packs(path)
    recipe, folder = open_run(path.absolute().parents[3], trusts_code=trusts_code)
    # Without compilation or recomputation, so that the hooks see every module.
    plain = replace(recipe, hardware=HardwareConfig())
    vocabulary = kept_vocabulary(recipe, folder)
    model = build_audio_lm(plain, vocabulary)
    load_weights(model, _weights_folder(path, step))
    rates = rates_of(recipe, model)[stage]
    config = recipe.stages[stage]
    module = build_module(config, model, rates, answers=answer_format(config, vocabulary))
    for (_, parameter), rate in zip(model.named_parameters(), rates.values(), strict=True):
        parameter.requires_grad_(rate is not None and step >= rate.from_step)
    with torch.autocast("cpu", torch.bfloat16, enabled=recipe.hardware.is_half):
        result = run_packs(model, packs, module)
    console.print(f"stage {stage}, step {step}, {len(packs)} packs: loss {result.loss:.6g}")
    for part, norm in result.norms.items():
        console.print(f"  gradient of {part}: {norm:.6g}")
    console.print(
        f"first not finite: {result.first_nonfinite}" if result.first_nonfinite else "everything is finite"
    )
    return result


def run_packs(model: AudioLM, packs: Sequence[PackedBatch], module: TrainStep | None = None) -> ReplayResult:
    """Run forward and backward over packs, with hooks that find the first value that is not finite.

    Args:
        module: objective of the stage; None for next-token prediction.
    """
    result = ReplayResult()
    hooks = [
        module.register_forward_hook(_output_hook(result, f"output of {name or 'the model'}"))
        for name, module in model.named_modules()
    ]
    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    hooks += [
        value.register_hook(_tensor_hook(result, f"gradient of {name}")) for name, value in trained.items()
    ]
    num_counted = max(1, sum(module.num_counted(pack) if module else pack.num_learned for pack in packs))
    total = 0.0
    for pack in packs:
        loss = (
            module.compute_loss(pack, 1 / num_counted).total
            if module
            else model.loss(pack, weight=1 / num_counted).total
        )
        _tensor_hook(result, "the loss")(loss.detach())
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.item()
    for hook in hooks:
        hook.remove()
    result.loss = total
    squares: dict[str, float] = {}
    for name, value in trained.items():
        if value.grad is not None:
            part = part_of(name)
            squares[part] = squares.get(part, 0.0) + float(value.grad.double().square().sum())
    result.norms = {part: math.sqrt(square) for part, square in squares.items()}
    return result


def _output_hook(result: ReplayResult, name: str) -> Any:
    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        for value in output if isinstance(output, tuple) else (output,):
            if isinstance(value, Tensor):
                _tensor_hook(result, name)(value)

    return hook


def _tensor_hook(result: ReplayResult, name: str) -> Any:
    def hook(value: Tensor) -> None:
        if result.first_nonfinite is None and value.is_floating_point() and not value.isfinite().all():
            result.first_nonfinite = name

    return hook


def _weights_folder(path: Path, step: int) -> Path:
    return path.parent / f"step-{step}-weights"


def _as_tuples(value: Any) -> Any:
    """Convert lists from JSON back to tuples."""
    return tuple(_as_tuples(entry) for entry in value) if isinstance(value, list) else value
