import pytest

from audio_lm.common.errors import RecipeError
from audio_lm.config.overrides import apply_overrides, parse_settings, parse_use_overrides
from audio_lm.config.yaml_layers import Layer


def laid(tree, *overrides):
    layer, problems = Layer(tree, {"a": "r.yaml:1"}), []
    apply_overrides(layer, overrides, problems)
    return layer, problems


def test_what_the_command_line_says_is_known_by_its_place():
    layer, problems = laid({"a": {"b": 1, "c": 2}}, "a={b: 3, d: {e: 4}}")
    assert (layer.tree, problems) == ({"a": {"b": 3, "c": 2, "d": {"e": 4}}}, [])
    for key in ("a", "a.b", "a.d.e"):
        assert layer.where[key] == "command line", key


@pytest.mark.parametrize("override", ["=5", "", "k" * 600 + "=1", ".".join("k" * 100) + "=1", "seed"])
def test_a_key_that_is_none_is_refused(override):
    with pytest.raises(RecipeError, match="override"):
        parse_use_overrides([override])


@pytest.mark.parametrize("table", [None, 5, "text", [1]])
def test_what_is_no_table_has_no_entries(table):
    _, problems = laid({"stages": table}, "stages.x=1")
    assert "'x' is not in 'stages'" in problems[0]


@pytest.mark.parametrize("value", ["[1", "2024-01-01", "9" * 5_000, "&a [*a]", "!!python/name:os.system"])
def test_a_value_is_read_within_bounds(value):
    _, problems = laid({"a": 1}, f"a={value}")
    assert len(problems) == 1
    assert problems[0].startswith("command line")
    with pytest.raises(RecipeError, match="command line"):
        parse_settings([f"a={value}"])


def test_something_that_is_no_setting_is_refused():
    with pytest.raises(RecipeError, match="not key=value"):
        parse_settings(["seed"])
