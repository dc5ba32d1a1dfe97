from dataclasses import dataclass, field, is_dataclass
from typing import get_args, get_type_hints

import pytest

from audio_lm.common.ranges import unwrap_annotated
from audio_lm.config.load import load_recipe, recipe_names, signature_of
from audio_lm.config.result_keys import DECIDING, RUNNING, affects_result, declared_keys
from audio_lm.config.schema import Recipe
from audio_lm.config.yaml_layers import flatten

TABLES = {"deciding": set(declared_keys(DECIDING)), "running": set(declared_keys(RUNNING))}
GIVEN = """
resume only name use stand_ins data_dir cache_dir audio_roots tracking.uri hardware.devices fault_tolerance.max_restarts
evaluation.baselines evaluation.benchmarks.a.b/c.task published.digits.wer stages.chat.checkpoint_every
stages.chat.checkpoints.keep_last stages.chat.validate_every stages.chat.validation.sources.asr
stages.chat.max_validation_clips stages.chat.max_bad_fraction
tracking hardware fault_tolerance evaluation published stages.chat.checkpoints stages.chat.validation
"""


def fields_of(hint, key=""):
    """Every field of a schema, a name that the recipe chooses as ``*``; tables that are declared whole end there."""
    _, plain = unwrap_annotated(hint)
    if is_dataclass(plain):
        for name, inner in get_type_hints(plain, include_extras=True).items():
            yield from fields_of(inner, f"{key}.{name}" if key else name)
    elif dict in (plain, getattr(plain, "__origin__", None)) and holds_table(get_args(plain)[-1]):
        yield from [key] if is_whole(key) else fields_of(get_args(plain)[-1], f"{key}.*")
    else:
        tables = [one for one in get_args(plain) if is_dataclass(one)]
        yield key
        for table in tables:
            yield from fields_of(table, key)


def holds_table(hint):
    return is_dataclass(unwrap_annotated(hint)[1])


def is_whole(key):
    return any(key in keys for keys in TABLES.values())


def declarations_of(key):
    """The tables that declare a field, or a table above it."""
    above = [key.rsplit(".", number)[0] for number in range(key.count(".") + 1)]
    return [name for name, keys in TABLES.items() if keys & set(above)]


def test_every_field_of_the_schema_is_declared_one_way():
    undeclared = {key: declarations_of(key) for key in fields_of(Recipe) if len(declarations_of(key)) != 1}
    assert not undeclared


def test_nothing_else_is_declared():
    known = set(fields_of(Recipe))
    above = {key.rsplit(".", number)[0] for key in known for number in range(key.count(".") + 1)}
    assert TABLES["deciding"] | TABLES["running"] <= above


def test_a_field_without_a_declaration_is_found():
    @dataclass
    class Inner:
        steps: int = 1
        fresh: int = 0

    @dataclass
    class Longer:
        seed: int = 0
        stages: dict[str, Inner] = field(default_factory=dict)
        other: Inner | None = None

    found = {key for key in fields_of(Longer) if not declarations_of(key)}
    assert found == {"stages.*.fresh", "other", "other.steps", "other.fresh"}
    assert affects_result("stages.chat.fresh"), "undeclared keys decide"


@pytest.mark.parametrize("key", GIVEN.split())
def test_what_does_not_decide(key):
    assert not affects_result(key)


@pytest.mark.parametrize("key", ["stages", "stages.chat", "model", "stages.chat.optimizer", "nothing", ""])
def test_a_table_decides_when_anything_in_it_does(key):
    assert affects_result(key)


def test_names_that_look_like_fields_change_nothing():
    assert not affects_result("stages.v1.2.checkpoint_every")
    assert affects_result("stages.v1.2.steps")
    assert affects_result("stages.checkpoints.steps")
    assert affects_result("stages.chat.mixture.groups.validation")
    assert affects_result("corpora.mine.validation")
    assert not affects_result("published.seed.wer")


def set_at(table, key, value):
    """Set a value at a dotted key, whose names may have dots; the one before."""
    names = key.split(".")
    for end in range(1, len(names)):
        inner = table.get(".".join(names[:end]))
        if isinstance(inner, dict) and inner:
            return set_at(inner, ".".join(names[end:]), value)
    before, table[key] = table[key], value
    return before


@pytest.mark.parametrize("name", recipe_names())
def test_the_signature_follows_the_keys_that_decide_and_no_others(name):
    tree = load_recipe(name, trusts_code=True).tree
    before = signature_of(tree)
    keys = [key for key, _ in flatten(tree)]
    assert {affects_result(key) for key in keys} == {True, False}
    for key in keys:
        kept = set_at(tree, key, "another")
        assert (signature_of(tree) != before) == affects_result(key), key
        set_at(tree, key, kept)
