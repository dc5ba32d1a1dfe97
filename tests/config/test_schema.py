from dataclasses import dataclass, fields, is_dataclass
from typing import Literal, get_args, get_origin, get_type_hints

import pytest
import yaml

from audio_lm.config.schema import Recipe, coerce_literals
from audio_lm.config.yaml_layers import nest, table_at


def schemas(kind, seen=()):
    """Yield the dataclasses of the recipe schema."""
    if is_dataclass(kind) and kind not in seen:
        yield kind
        for hint in get_type_hints(kind).values():
            yield from schemas(hint, (*seen, kind))
    for inner in get_args(kind):
        yield from schemas(inner, seen)


@pytest.mark.parametrize("schema", sorted(set(schemas(Recipe)), key=lambda kind: kind.__name__))
def test_all_settings_are_documented_and_frozen(schema):
    assert schema.__dataclass_params__.frozen
    source = __import__("inspect").getsource(schema)
    for field in fields(schema):
        after = source.split(f"\n    {field.name}:", 1)[1]
        below = after.split("\n", 1)[1] if not after.split("\n", 1)[0].endswith(("(", "{")) else after
        assert below.lstrip().startswith('"""'), f"{schema.__name__}.{field.name} has no docstring"


def literals_in(kind, key=""):
    """Yield dotted key and value for each ``Literal`` of the schema."""
    if get_origin(kind) is Literal:
        yield from ((key, literal) for literal in get_args(kind))
    elif is_dataclass(kind):
        for name, inner in get_type_hints(kind).items():
            yield from literals_in(inner, f"{key}.{name}" if key else name)
    elif get_origin(kind) is dict:
        yield from literals_in(get_args(kind)[1], f"{key}.any")
    else:
        for inner in get_args(kind):
            yield from literals_in(inner, key)


@pytest.mark.parametrize(("key", "literal"), sorted(set(literals_in(Recipe))))
def test_literals_of_the_schema_can_be_written_without_quotes(key, literal):
    tree = nest(key, yaml.safe_load(literal))
    assert table_at(coerce_literals(tree), key) == literal


@dataclass
class Schema:
    """Schema with literals in all kinds of containers."""

    one: Literal["32", "1.5", "no number"] | None = None
    many: list[Literal["8", "16"]] | None = None
    inner: "dict[str, Schema] | None" = None
    number: int = 0
    anything: dict | None = None


def test_only_numbers_with_a_literal_become_strings():
    tree = {
        "inner": {"a": {"one": 1.5, "many": [8, "16", 4], "number": 32}, "b": None},
        "one": 33,
        "number": 32,
        "anything": {"one": 32},
        "unknown": 32,
    }
    expected = {**tree, "inner": {"a": {"one": "1.5", "many": ["8", "16", 4], "number": 32}, "b": None}}
    assert coerce_literals(tree, Schema) == expected
    assert coerce_literals({"one": True}, Schema) == {"one": True}
    assert coerce_literals([32], Schema) == [32]
    assert tree["inner"]["a"]["one"] == 1.5, "the tree is not modified"
