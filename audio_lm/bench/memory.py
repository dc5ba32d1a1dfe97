"""What a step keeps in memory: bytes saved for the backward pass, and the peak.

A GPU counts itself. On a CPU every storage is counted from the operation that makes it to
the moment nobody holds it.
"""

import weakref
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def saved_bytes(forward: Callable[[], Tensor], held: Collection[Tensor]) -> int:
    """Bytes of activations that live on for the backward pass when a forward pass has ended, each storage once.

    A gradient of a weight that is formed early is a gradient and no activation. Runs the backward pass too.

    Args:
        forward: gives the loss.
        held: weights, which are there anyway and are not counted.
    """
    kept: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    @torch.compiler.disable
    def note(tensor: Tensor) -> Tensor:
        kept[_key(tensor)] = weakref.ref(tensor.untyped_storage())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = forward()
    sizes = {key: storage.nbytes() for key, one in kept.items() if (storage := one()) is not None}
    loss.backward()
    gradients = {_key(tensor.grad) for tensor in held if tensor.grad is not None}
    no_activations = {_key(tensor) for tensor in held} | {key for key in gradients if kept.get(key, _gone)()}
    return sum(size for key, size in sizes.items() if key not in no_activations)


def _gone() -> None:
    """What a dead reference gives."""


def peak_bytes(run: Callable[[], object], device: torch.device) -> int:
    """The most memory that lived at one time while ``run`` ran, beyond what lived before it."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        run()
        return torch.cuda.max_memory_allocated(device) - before
    with _Storages() as storages:
        run()
    return storages.peak


class _Storages(TorchDispatchMode):
    """Counts the storages that operations make while they live."""

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
        before = {_key(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        result = func(*args, **kwargs)
        for leaf in tree_leaves(result):
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
    return tensor.untyped_storage()._cdata
