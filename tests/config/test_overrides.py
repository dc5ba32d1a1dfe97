import pytest

from audio_lm.common.errors import RecipeError
from audio_lm.config.overrides import apply_overrides, parse_settings, parse_use_overrides
from audio_lm.config.yaml_layers import Layer


def apply(tree, *overrides):
    layer, problems = Layer(tree, {"a": "r.yaml:1"}), []
    apply_overrides(layer, overrides, problems)
    return layer, problems


def test_overridden_keys_have_the_command_line_as_origin():
    layer, problems = apply({"a": {"b": 1, "c": 2}}, "a={b: 3, d: {e: 4}}")
    assert (layer.tree, problems) == ({"a": {"b": 3, "c": 2, "d": {"e": 4}}}, [])
    for key in ("a", "a.b", "a.d.e"):
        assert layer.where[key] == "command line", key


@pytest.mark.parametrize("override", ["=5", "", "k" * 600 + "=1", ".".join("k" * 100) + "=1", "seed"])
def test_an_invalid_key_is_refused(override):
    with pytest.raises(RecipeError, match="override"):
        parse_use_overrides([override])


@pytest.mark.parametrize("table", [None, 5, "text", [1]])
def test_a_value_that_is_not_a_table_has_no_entries(table):
    _, problems = apply({"stages": table}, "stages.x=1")
    assert "'x' is not in 'stages'" in problems[0]


@pytest.mark.parametrize("value", ["[1", "2024-01-01", "9" * 5_000, "&a [*a]", "!!python/name:os.system"])
def test_a_value_is_read_within_bounds(value):
    _, problems = apply({"a": 1}, f"a={value}")
    assert len(problems) == 1
    assert problems[0].startswith("command line")
    with pytest.raises(RecipeError, match="command line"):
        parse_settings([f"a={value}"])


def test_a_setting_without_a_value_is_refused():
    with pytest.raises(RecipeError, match="not key=value"):
        parse_settings(["seed"])


def test_a_star_stands_for_every_entry_of_its_table():
    tree = {"stages": {"a": {"steps": 1, "parts": {"x": {"lr": 1}, "y": {"lr": 2}}}, "b": {"steps": 2}}}
    layer, problems = apply(
        tree, "stages.*.steps=9", "stages.a.parts.*.lr=3", "+stages.*.new={}", "~stages.b"
    )
    assert problems == []
    assert layer.tree == {"stages": {"a": {"steps": 9, "parts": {"x": {"lr": 3}, "y": {"lr": 3}}, "new": {}}}}
    assert layer.where["stages.a.parts.y.lr"] == "command line"


def test_a_star_in_a_value_or_of_no_table_is_no_pattern():
    layer, problems = apply({"a": {"b": 1}, "stages": {}}, "a.b='x.*.y'", "stages.*.steps=1")
    assert layer.tree["a"]["b"] == "x.*.y"
    assert layer.tree["stages"] == {
        "*": {"steps": 1}
    }  # refused by the schema, like any stage without settings
