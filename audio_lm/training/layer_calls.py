"""How a layer is called: compiled, and computed again in the backward pass instead of being remembered.

Only what the layer computes is changed; its hooks, and with them those that gather its weights, run
outside. No name of a parameter changes.
"""

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from audio_lm.training.sharding import layers_in


def compile_layers(model: nn.Module, *, backend: str = "inductor") -> None:
    """Compile every layer, with lengths left open so that all layers of a kind and all packs share a graph."""
    for _, layer in layers_in(model):
        layer.forward = torch.compile(layer.forward, dynamic=True, backend=backend)


def recompute_layers(model: nn.Module, parts: Collection[str]) -> None:
    """Keep nothing of the layers of some parts but what goes into them; dropout draws the same again."""
    for name, layer in layers_in(model):
        if name.partition(".")[0] in parts:
            layer.forward = _again(layer.forward)


def _again(forward: Callable[..., Any]) -> Callable[..., Any]:
    def call(*inputs: Any, **options: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*inputs, **options)
        return checkpoint(forward, *inputs, use_reentrant=False, **options)

    return call
