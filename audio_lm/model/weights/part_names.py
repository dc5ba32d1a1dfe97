"""Part of the model that a weight belongs to, from the weight's name.

Low-rank updates are submodules of the part they update, but count as a separate part.
"""

import re

UPDATE = re.compile(r"\.lora_[AB]\.default\b")
SUFFIX = "_lora"


def part_of(name: str) -> str:
    """Part of a parameter.

    >>> part_of("encoder.layers.0.fc1.weight"), part_of("language_model.q_proj.lora_A.default.weight")
    ('encoder', 'language_model_lora')
    """
    part = name.partition(".")[0]
    return part + SUFFIX if is_update(name) else part


def is_update(name: str) -> bool:
    """True if a weight is one of the two matrices of a low-rank update."""
    return UPDATE.search(name) is not None


def plain_name(name: str) -> str:
    """Name of a weight in files: without the wrappers that peft adds.

    >>> plain_name("q_proj.base_layer.weight"), plain_name("q_proj.lora_A.default.weight")
    ('q_proj.weight', 'q_proj.lora_A.weight')
    """
    return name.replace(".base_layer.", ".") if not is_update(name) else name.replace(".default.", ".")
