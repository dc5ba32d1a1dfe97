"""Which parts of the model learn, from when, and at what rate.

Names in, rates out: nothing here needs a model, so the whole policy can be
tested, printed and logged as a table.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from audio_lm.common.errors import RecipeError
from audio_lm.model.weights.part_names import part_of
from audio_lm.training.config import PartConfig

LAYER = re.compile(r"\.layers\.(\d+)\.")


@dataclass(frozen=True)
class Rate:
    """How one parameter learns."""

    lr: float
    """Peak learning rate."""

    from_step: int = 0
    """Frozen before it."""


def learning_rates(names: Iterable[str], parts: Mapping[str, PartConfig]) -> dict[str, Rate | None]:
    """The rate of every parameter; ``None`` where it is frozen.

    Closed on both sides: every parameter belongs to a part and every part has
    parameters. A typo that would train the wrong thing for a week stops here.

    Args:
        parts: by name; see ``part_of``.

    Raises:
        RecipeError: either side is open; the message lists what there is.

    Source: layer-wise decay as in ELECTRA, arXiv:2003.10555, appendix B.
    """
    part = {name: part_of(name) for name in names}
    there, asked = set(part.values()), set(parts)
    if there != asked:
        raise RecipeError(
            f"parts {sorted(asked - there)} match no parameter and {sorted(there - asked)} are not "
            f"mentioned; this model has {sorted(there)} (freeze one with `lr: null`)"
        )
    rates: dict[str, Rate | None] = {}
    for key, config in parts.items():
        below_top = _layers_below_top([name for name in part if part[name] == key])
        for name, distance in below_top.items():
            rates[name] = (
                None
                if config.lr is None
                else Rate(config.lr * config.layer_decay**distance, config.from_step)
            )
    return rates


def _layers_below_top(names: Sequence[str]) -> dict[str, int]:
    """How far each parameter lies below the top layer of its part.

    What a part defines before its layers (convolutions, positions) lies below
    them all; what it defines after them (the last norm) belongs to the top.
    """
    layer_of = {name: int(match[1]) for name in names if (match := LAYER.search(name))}
    top = max(layer_of.values(), default=0)
    distances, floor = {}, top + 1 if layer_of else 0
    for name in names:
        if name in layer_of:
            floor = 0
        distances[name] = top - layer_of[name] if name in layer_of else floor
    return distances
