"""Which part of the model a weight belongs to, from its name alone.

Low-rank updates stand inside the part they change, and are a part of their own all the same.
"""

import re

UPDATE = re.compile(r"\.lora_[AB]\.default\b")
SUFFIX = "_lora"


def part_of(name: str) -> str:
    """The part of a parameter.

    >>> part_of("encoder.layers.0.fc1.weight"), part_of("language_model.q_proj.lora_A.default.weight")
    ('encoder', 'language_model_lora')
    """
    part = name.partition(".")[0]
    return part + SUFFIX if is_update(name) else part


def is_update(name: str) -> bool:
    """Whether a weight is half of a low-rank update."""
    return UPDATE.search(name) is not None


def plain_name(name: str) -> str:
    """A weight's name as it is without updates beside it, and an update's as files have it.

    >>> plain_name("q_proj.base_layer.weight"), plain_name("q_proj.lora_A.default.weight")
    ('q_proj.weight', 'q_proj.lora_A.weight')
    """
    return name.replace(".base_layer.", ".") if not is_update(name) else name.replace(".default.", ".")
