from dataclasses import dataclass, field, is_dataclass
from typing import get_args, get_type_hints

import pytest

from audio_lm.common.ranges import unwrap_annotated
from audio_lm.config.load import load_recipe, recipe_names, signature_of
from audio_lm.config.result_keys import EXECUTION, RESULT, affects_result, declared_keys
from audio_lm.config.schema import Recipe
from audio_lm.config.yaml_layers import flatten

TABLES = {"result": set(declared_keys(RESULT)), "execution": set(declared_keys(EXECUTION))}
EXECUTION_KEYS = """
resume only name use stand_ins data_dir cache_dir audio_roots tracking.uri hardware.devices fault_tolerance.max_restarts
evaluation.baselines evaluation.benchmarks.a.b/c.task published.digits.wer stages.chat.checkpoint_every
stages.chat.checkpoints.keep_last stages.chat.validate_every stages.chat.validation.sources.asr
stages.chat.max_validation_clips stages.chat.max_bad_fraction
tracking hardware fault_tolerance evaluation published stages.chat.checkpoints stages.chat.validation
"""


def fields_of(hint, key=""):
    """Yield the fields of a schema, with ``*`` for names that the recipe chooses; does not descend into declared tables."""
    _, plain = unwrap_annotated(hint)
    if is_dataclass(plain):
        for name, inner in get_type_hints(plain, include_extras=True).items():
            yield from fields_of(inner, f"{key}.{name}" if key else name)
    elif dict in (plain, getattr(plain, "__origin__", None)) and holds_table(get_args(plain)[-1]):
        yield from [key] if is_declared(key) else fields_of(get_args(plain)[-1], f"{key}.*")
    else:
        tables = [member for member in get_args(plain) if is_dataclass(member)]
        yield key
        for table in tables:
            yield from fields_of(table, key)


def holds_table(hint):
    return is_dataclass(unwrap_annotated(hint)[1])


def is_declared(key):
    return any(key in keys for keys in TABLES.values())


def declarations_of(key):
    """Names of the declarations that contain a field or a table above it."""
    above = [key.rsplit(".", number)[0] for number in range(key.count(".") + 1)]
    return [name for name, keys in TABLES.items() if keys & set(above)]


def test_all_fields_of_the_schema_are_declared_once():
    undeclared = {key: declarations_of(key) for key in fields_of(Recipe) if len(declarations_of(key)) != 1}
    assert not undeclared


def test_only_fields_of_the_schema_are_declared():
    known = set(fields_of(Recipe))
    above = {key.rsplit(".", number)[0] for key in known for number in range(key.count(".") + 1)}
    assert TABLES["result"] | TABLES["execution"] <= above


def test_an_undeclared_field_is_detected():
    @dataclass
    class Inner:
        steps: int = 1
        fresh: int = 0

    @dataclass
    class Longer:
        seed: int = 0
        stages: dict[str, Inner] = field(default_factory=dict)
        other: Inner | None = None

    undeclared = {key for key in fields_of(Longer) if not declarations_of(key)}
    assert undeclared == {"stages.*.fresh", "other", "other.steps", "other.fresh"}
    assert affects_result("stages.chat.fresh"), "undeclared keys count as result keys"


@pytest.mark.parametrize("key", EXECUTION_KEYS.split())
def test_execution_keys_do_not_affect_the_result(key):
    assert not affects_result(key)


@pytest.mark.parametrize("key", ["stages", "stages.chat", "model", "stages.chat.optimizer", "nothing", ""])
def test_a_table_affects_the_result_if_any_key_in_it_does(key):
    assert affects_result(key)


def test_chosen_names_that_look_like_fields_are_not_confused():
    assert not affects_result("stages.v1.2.checkpoint_every")
    assert affects_result("stages.v1.2.steps")
    assert affects_result("stages.checkpoints.steps")
    assert affects_result("stages.chat.mixture.groups.validation")
    assert affects_result("corpora.mine.validation")
    assert not affects_result("published.seed.wer")


def set_at(table, key, value):
    """Set a value at a dotted key, whose names may contain dots; returns the previous value."""
    names = key.split(".")
    for end in range(1, len(names)):
        inner = table.get(".".join(names[:end]))
        if isinstance(inner, dict) and inner:
            return set_at(inner, ".".join(names[end:]), value)
    before, table[key] = table[key], value
    return before


@pytest.mark.parametrize("name", recipe_names())
def test_the_signature_depends_on_all_result_keys_and_no_others(name):
    tree = load_recipe(name, trusts_code=True).tree
    before = signature_of(tree)
    keys = [key for key, _ in flatten(tree)]
    assert {affects_result(key) for key in keys} == {True, False}
    for key in keys:
        kept = set_at(tree, key, "another")
        assert (signature_of(tree) != before) == affects_result(key), key
        set_at(tree, key, kept)
