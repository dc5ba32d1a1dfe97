"""Measure the memory of a step: bytes saved for the backward pass, and the peak.

On a GPU, torch's allocator counts. On a CPU, every storage is counted from the operation that creates it until it is
freed.
"""

import weakref
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

from audio_lm.common import compat
from audio_lm.common.protocols import Factory


def saved_bytes(forward: Factory[Tensor], weights: Collection[Tensor]) -> int:
    """Bytes of activations in memory after a forward pass, for the backward pass; each storage counts once.

    Gradients of weights that the forward pass computes already are not activations. Runs the backward pass too.

    Args:
        forward: computes the loss.
        weights: weights of the model, which are not counted.
    """
    saved: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    @torch.compiler.disable
    def record(tensor: Tensor) -> Tensor:
        saved[_key(tensor)] = weakref.ref(tensor.untyped_storage())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(record, lambda tensor: tensor):
        loss = forward()
    sizes = {key: storage.nbytes() for key, ref in saved.items() if (storage := ref()) is not None}
    loss.backward()
    gradients = {_key(tensor.grad) for tensor in weights if tensor.grad is not None}
    excluded = {_key(tensor) for tensor in weights} | {key for key in gradients if saved.get(key, _dead)()}
    return sum(size for key, size in sizes.items() if key not in excluded)


def _dead() -> None:
    """Stand-in for a dead weak reference."""


def peak_bytes(run: Factory[object], device: torch.device) -> int:
    """Peak memory while ``run`` runs, above the memory in use before it."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        run()
        return torch.cuda.max_memory_allocated(device) - before
    with _Storages() as storages:
        run()
    return storages.peak


class _Storages(compat.dispatch_mode()):  # type: ignore[misc]
    """Track the bytes of all live storages that operations create."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: dict[int, int] = {}
        self.now = self.peak = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        before = {_key(leaf) for leaf in compat.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        result = func(*args, **kwargs)
        for leaf in compat.tree_leaves(result):
            if isinstance(leaf, Tensor) and (key := _key(leaf)) not in before and key not in self.alive:
                storage = leaf.untyped_storage()
                self.alive[key] = storage.nbytes()
                self.now += storage.nbytes()
                weakref.finalize(storage, self._forget, key)
        self.peak = max(self.peak, self.now)
        return result

    def _forget(self, key: int) -> None:
        self.now -= self.alive.pop(key, 0)


def _key(tensor: Tensor) -> int:
    return compat.storage_address(tensor)
