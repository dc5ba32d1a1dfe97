"""Compilation and activation checkpointing of layers.

Both replace ``layer.forward`` only. Hooks of the layer, such as those of FSDP2 that gather its weights, run
outside of it. Parameter names do not change.
"""

from collections.abc import Collection
from functools import partial
from typing import Any, Protocol

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from audio_lm.training.fsdp import layers_in


class LayerForward(Protocol):
    """Forward method of a layer, or a replacement of it."""

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Compute the layer."""


def compile_layers(model: nn.Module, *, backend: str = "inductor") -> None:
    """Compile every layer, with dynamic lengths, so that all layers of a kind and all packs share a graph.

    Without gradients, as in generation, layers are not compiled.
    """
    for _, layer in layers_in(model):
        compiled = torch.compile(layer.forward, dynamic=True, backend=backend)
        layer.forward = _if_grad_enabled(compiled, layer.forward)


def recompute_layers(model: nn.Module, parts: Collection[str]) -> None:
    """Store only the inputs of the layers of some parts; dropout draws the same values again."""
    for name, layer in layers_in(model):
        if name.partition(".")[0] in parts:
            checkpointed = partial(checkpoint, layer.forward, use_reentrant=False)
            layer.forward = _if_grad_enabled(checkpointed, layer.forward)


def _if_grad_enabled(with_grad: LayerForward, without_grad: LayerForward) -> LayerForward:
    """Choose between two forward methods at every call."""

    def forward(*inputs: Any, **options: Any) -> Any:
        return (with_grad if torch.is_grad_enabled() else without_grad)(*inputs, **options)

    return forward
