"""Learning rate and first step of every parameter, from the settings of the parts.

Only names are needed, no model, so the result can be tested, printed and logged as a table.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from audio_lm.common.errors import RecipeError
from audio_lm.model.weights.part_names import part_of
from audio_lm.training.config import PartConfig

LAYER_NUMBER = re.compile(r"\.layers\.(\d+)\.")


@dataclass(frozen=True)
class Rate:
    """Learning rate of a parameter."""

    lr: float
    """Peak learning rate."""

    from_step: int = 0
    """First step that trains the parameter; it is frozen before."""


def learning_rates(names: Iterable[str], parts: Mapping[str, PartConfig]) -> dict[str, Rate | None]:
    """Rate of every parameter; None for a frozen one.

    Every parameter must belong to a part and every part must have parameters, so that a typo cannot train the
    wrong parameters.

    Args:
        parts: settings by part name, see ``part_of``.

    Raises:
        RecipeError: a part or a parameter is left over; lists the parts of the model.

    Source: layer-wise decay as in ELECTRA, arXiv:2003.10555, appendix B.
    """
    part_of_name = {name: part_of(name) for name in names}
    existing, configured = set(part_of_name.values()), set(parts)
    if existing != configured:
        raise RecipeError(
            f"parts {sorted(configured - existing)} match no parameter and {sorted(existing - configured)} are not "
            f"mentioned; this model has {sorted(existing)} (freeze one with `lr: null`)"
        )
    rates: dict[str, Rate | None] = {}
    for part, config in parts.items():
        below_top = _layers_below_top([name for name in part_of_name if part_of_name[name] == part])
        for name, distance in below_top.items():
            rates[name] = (
                None
                if config.lr is None
                else Rate(config.lr * config.layer_decay**distance, config.from_step)
            )
    return rates


def _layers_below_top(names: Sequence[str]) -> dict[str, int]:
    """Distance of each parameter from the top layer of its part, in layers.

    Parameters defined before the layers (convolutions, positions) are one below the lowest layer; those defined
    after the first layer and outside of layers (the last norm) belong to the top layer.
    """
    layer_of = {name: int(match[1]) for name in names if (match := LAYER_NUMBER.search(name))}
    top = max(layer_of.values(), default=0)
    distances, outside_layers = {}, top + 1 if layer_of else 0
    for name in names:
        if name in layer_of:
            outside_layers = 0
        distances[name] = top - layer_of[name] if name in layer_of else outside_layers
    return distances
