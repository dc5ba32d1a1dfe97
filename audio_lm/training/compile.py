"""How a layer is called: compiled, and computed again in the backward pass instead of being remembered.

Only what the layer computes is changed; its hooks, and with them those that gather its weights, run
outside. No name of a parameter changes.
"""

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from audio_lm.training.fsdp import layers_in


def compile_layers(model: nn.Module, *, backend: str = "inductor") -> None:
    """Compile every layer, with lengths left open so that all layers of a kind and all packs share a graph.

    Where nothing is learned, as in answers word by word, layers are called as they are.
    """
    for _, layer in layers_in(model):
        compiled = torch.compile(layer.forward, dynamic=True, backend=backend)
        layer.forward = _where_learned(compiled, layer.forward)


def recompute_layers(model: nn.Module, parts: Collection[str]) -> None:
    """Keep nothing of the layers of some parts but what goes into them; dropout draws the same again."""
    for name, layer in layers_in(model):
        if name.partition(".")[0] in parts:
            again = partial(checkpoint, layer.forward, use_reentrant=False)
            layer.forward = _where_learned(again, layer.forward)


def _where_learned(learned: Callable[..., Any], plain: Callable[..., Any]) -> Callable[..., Any]:
    def call(*inputs: Any, **options: Any) -> Any:
        return (learned if torch.is_grad_enabled() else plain)(*inputs, **options)

    return call
