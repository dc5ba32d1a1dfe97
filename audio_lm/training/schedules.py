"""How learning rates move over the steps of a stage, as functions of the step alone.

Source: warm-up and cosine with a floor, arXiv:2311.07919, table 6.
"""

import math
from typing import Literal


def rate_factor(
    step: int, *, kind: Literal["cosine", "linear", "constant"], steps: int, warmup_steps: int, floor: float
) -> float:
    """What the peak rate is multiplied by at a step.

    Args:
        floor: the factor at the last step, ``min_lr / peak_lr``.

    >>> [round(rate_factor(step, kind="cosine", steps=10, warmup_steps=2, floor=0.1), 2) for step in (0, 1, 2, 10)]
    [0.5, 1.0, 1.0, 0.1]
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = min(1.0, (step - warmup_steps) / max(1, steps - warmup_steps))
    if kind == "constant":
        return 1.0
    shape = (1 + math.cos(math.pi * progress)) / 2 if kind == "cosine" else 1 - progress
    return floor + (1 - floor) * shape
