import pytest

from audio_lm.common.errors import RecipeError
from audio_lm.config.yaml_layers import (
    Layer,
    delete_key,
    drop,
    merge,
    merge_trees,
    nest,
    read_layer,
    table_at,
)


def test_tables_merge_and_anything_else_is_replaced():
    assert merge_trees({"a": {"b": 1, "c": [1]}}, {"a": {"c": [2]}}) == {"a": {"b": 1, "c": [2]}}


def test_a_table_marked_replace_is_not_merged():
    assert merge_trees({"a": {"b": 1}}, {"a": {"_replace_": True, "c": 2}}) == {"a": {"c": 2}}


def test_merging_does_not_modify_its_arguments():
    below = {"a": {"b": 1}}
    merge_trees(below, {"a": {"b": 2}})
    assert below == {"a": {"b": 1}}


def test_the_upper_layer_gives_the_origin_of_a_key():
    below = Layer({"a": 1}, {"a": "x:1"})
    merge(below, Layer({"a": 2}, {"a": "y:1"}))
    assert (below.tree, below.where) == ({"a": 2}, {"a": "y:1"})


def test_keys_of_a_file_have_their_lines(tmp_path):
    path = tmp_path / "r" / "a.yaml"
    path.parent.mkdir()
    path.write_text("a:\n  b: 1\nc: 2\n")
    assert read_layer(path).where == {"a": "r/a.yaml:1", "a.b": "r/a.yaml:2", "c": "r/a.yaml:3"}


@pytest.mark.parametrize("text", ["a: [1", "- 1", "text"])
def test_a_file_that_is_not_a_table_is_refused(tmp_path, text):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=r"a\.yaml"):
        read_layer(path)


def test_dotted_keys_address_nested_tables():
    tree = nest("a.b", 1)
    assert tree == {"a": {"b": 1}}
    assert table_at(tree, "a") == {"b": 1}
    assert table_at(tree, "x.y") is None
    assert drop(tree, "a.b")
    assert not drop(tree, "a.b")
    problems = []
    delete_key(tree, "a.c", problems)
    assert len(problems) == 1
