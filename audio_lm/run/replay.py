"""A step whose gradient was not finite: its packs and weights are kept, and can be run again anywhere.

replay/step-N-rank-R.safetensors   the packs one rank heard
replay/step-N-weights/             the model as it was, one file a part
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

from audio_lm.common.errors import DataError
from audio_lm.common.packed_batch import PackedBatch
from audio_lm.common.runtime import rank
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.weights.part_names import part_of
from audio_lm.model.weights.parts import load_weights, save_model
from audio_lm.pipeline.model import build_audio_lm, rates_of
from audio_lm.run.console import run_console
from audio_lm.run.open import kept_vocabulary, open_run
from audio_lm.training.config import HardwareConfig

KEPT = "audio_lm.packs"


@dataclass
class ReplayResult:
    """What came of a step that was run again."""

    loss: float = math.nan
    """Mean over the learned tokens of the file."""

    norms: dict[str, float] = field(default_factory=dict)
    """Part -> length of its gradient."""

    first_nonfinite: str | None = None
    """What was the first not to be finite; none if all was."""


def keep_packs(model: nn.Module, folder: Path, stage: str, step: int, packs: Sequence[PackedBatch]) -> Path:
    """Write down what this rank heard in a step, and with the others the model it met.

    Args:
        folder: of the stage.
    """
    path = folder / "replay" / f"step-{step}-rank-{rank()}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors, plain = dict[str, Tensor](), list[dict[str, Any]]()
    for number, pack in enumerate(packs):
        values = {one.name: getattr(pack, one.name) for one in fields(pack)}
        tensors |= {
            f"{number}.{name}": value.cpu() for name, value in values.items() if isinstance(value, Tensor)
        }
        plain.append({name: value for name, value in values.items() if not isinstance(value, Tensor)})
    said = {"stage": stage, "step": step, "packs": plain}
    save_file(tensors, path, metadata={KEPT: json.dumps(said)})
    save_model(model, _weights_beside(path, step))
    return path


def read_packs(path: Path) -> tuple[str, int, list[PackedBatch]]:
    """Stage, step and packs of a file.

    Raises:
        DataError: it is no such file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            said = json.loads((file.metadata() or {})[KEPT])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise DataError(
            f"{path} holds no packs of a step ({error}); give a replay/step-N-rank-R.safetensors of a run"
        ) from error
    packs = []
    for number, plain in enumerate(said["packs"]):
        own = {name.partition(".")[2]: one for name, one in tensors.items() if name.startswith(f"{number}.")}
        packs.append(PackedBatch(**own, **{name: _frozen(value) for name, value in plain.items()}))
    return said["stage"], said["step"], packs


def replay(path: Path, console: Console | None = None, *, trusts_code: bool = False) -> ReplayResult:
    """Run the packs of a file again, on the CPU, and say where the first value that is not finite comes from.

    Raises:
        UserError: the file, its weights or its run are not there.
    """
    console = console or run_console()
    stage, step, packs = read_packs(path)
    recipe, folder = open_run(path.absolute().parents[3], trusts_code=trusts_code)
    # Layers are called as they are, so that all that stands in them is watched.
    plain = replace(recipe, hardware=HardwareConfig())
    model = build_audio_lm(plain, kept_vocabulary(recipe, folder))
    load_weights(model, _weights_beside(path, step))
    for (_, parameter), rate in zip(
        model.named_parameters(), rates_of(recipe, model)[stage].values(), strict=True
    ):
        parameter.requires_grad_(rate is not None and step >= rate.from_step)
    with torch.autocast("cpu", torch.bfloat16, enabled=recipe.hardware.is_half):
        found = run_packs(model, packs)
    console.print(f"stage {stage}, step {step}, {len(packs)} packs: loss {found.loss:.6g}")
    for part, norm in found.norms.items():
        console.print(f"  gradient of {part}: {norm:.6g}")
    console.print(
        f"first not finite: {found.first_nonfinite}" if found.first_nonfinite else "everything is finite"
    )
    return found


def run_packs(model: AudioLM, packs: Sequence[PackedBatch]) -> ReplayResult:
    """Forward and backward over packs, watched."""
    found = ReplayResult()
    watches = [
        module.register_forward_hook(_watch(found, f"output of {name or 'the model'}"))
        for name, module in model.named_modules()
    ]
    learning = {name: one for name, one in model.named_parameters() if one.requires_grad}
    watches += [one.register_hook(_look(found, f"gradient of {name}")) for name, one in learning.items()]
    num_learned = max(1, sum(pack.num_learned for pack in packs))
    total = 0.0
    for pack in packs:
        loss = model.loss(pack, weight=1 / num_learned).total
        _look(found, "the loss")(loss.detach())
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.item()
    for watch in watches:
        watch.remove()
    found.loss = total
    squares: dict[str, float] = {}
    for name, one in learning.items():
        if one.grad is not None:
            part = part_of(name)
            squares[part] = squares.get(part, 0.0) + float(one.grad.double().square().sum())
    found.norms = {part: math.sqrt(square) for part, square in squares.items()}
    return found


def _watch(found: ReplayResult, what: str) -> Any:
    def look(module: nn.Module, inputs: Any, output: Any) -> None:
        for value in output if isinstance(output, tuple) else (output,):
            if isinstance(value, Tensor):
                _look(found, what)(value)

    return look


def _look(found: ReplayResult, what: str) -> Any:
    def look(value: Tensor) -> None:
        if found.first_nonfinite is None and value.is_floating_point() and not value.isfinite().all():
            found.first_nonfinite = what

    return look


def _weights_beside(path: Path, step: int) -> Path:
    return path.parent / f"step-{step}-weights"


def _frozen(value: Any) -> Any:
    """Lists of JSON as the tuples they were."""
    return tuple(_frozen(one) for one in value) if isinstance(value, list) else value
