from dataclasses import fields, is_dataclass
from typing import get_args, get_type_hints

import pytest

from audio_lm.recipe import Recipe


def schemas(kind, seen=()):
    """Every dataclass that a recipe is made of."""
    if is_dataclass(kind) and kind not in seen:
        yield kind
        for hint in get_type_hints(kind).values():
            yield from schemas(hint, (*seen, kind))
    for inner in get_args(kind):
        yield from schemas(inner, seen)


@pytest.mark.parametrize("schema", sorted(set(schemas(Recipe)), key=lambda kind: kind.__name__))
def test_every_setting_is_documented_and_frozen(schema):
    assert schema.__dataclass_params__.frozen
    source = __import__("inspect").getsource(schema)
    for field in fields(schema):
        after = source.split(f"\n    {field.name}:", 1)[1]
        below = after.split("\n", 1)[1] if not after.split("\n", 1)[0].endswith(("(", "{")) else after
        assert below.lstrip().startswith('"""'), f"{schema.__name__}.{field.name} says nothing"
