"""Exactness of a resume: what the last bit of a sum depends on, and what may be promised where it differs."""

from collections.abc import Mapping
from dataclasses import asdict

import torch

from audio_lm.common.env import world_size
from audio_lm.config.schema import Recipe
from audio_lm.data.mixture.schedule import differences

EXACT = "exact"  # first word of the strongest promise
# Entries of an environment that change only the order of sums.
ORDER_OF_SUMS = {"ranks", "sharding", "frozen"}


def environment_of(recipe: Recipe) -> dict[str, str]:
    """Software, hardware and layout that the last bit of a sum depends on."""
    hardware = asdict(recipe.hardware)
    threads = hardware.pop("num_threads") or torch.get_num_threads()
    settings = {
        key: str(value) for key, value in hardware.items() if key not in ("devices", "nodes", "num_workers")
    }
    settings["precision"] = "bf16" if recipe.hardware.is_half else "32"
    is_gpu = recipe.hardware.accelerator == "gpu" and torch.cuda.is_available()
    device = torch.cuda.get_device_name() if is_gpu else torch.backends.cpu.get_cpu_capability()
    repeats = not is_gpu or torch.are_deterministic_algorithms_enabled()
    return {
        **settings,
        "ranks": str(world_size()),
        "threads": str(threads),
        "torch": torch.__version__,
        "device": device,
        "deterministic": str(repeats),
    }


def promise_of(before: Mapping[str, str], now: Mapping[str, str], changed_audio: str) -> str:
    """Strongest promise of a resume, with its reason: exact, same batches, or same order.

    Args:
        changed_audio: message on audio files that may have changed; empty if none has.
    """
    changed = [f"{key} was {before.get(key)} and is {now.get(key)}" for key in differences(before, now)]
    if changed_audio:
        return f"same order; {', '.join([changed_audio, *changed])}"
    if not changed and now["deterministic"] == "True":
        return f"{EXACT}: the same packs follow, and bit for bit the same losses"
    reason = ", ".join(changed) or "algorithms are not deterministic"
    is_close = set(differences(before, now)) <= ORDER_OF_SUMS and now["precision"] == "32"
    losses = (
        "losses equal to about 1e-6, not bit for bit" if is_close else "losses are not the same bit for bit"
    )
    return f"same batches: the same packs follow; {losses}, because {reason}"
