from dataclasses import dataclass, is_dataclass
from typing import Literal, get_args, get_origin, get_type_hints

import pytest
import yaml

from audio_lm.errors import RecipeError
from audio_lm.layers import (
    Layer,
    drop,
    merge,
    merged_trees,
    nested,
    read_layer,
    table_at,
    take_away,
    with_words,
)
from audio_lm.recipe import Recipe


def test_tables_merge_and_anything_else_is_replaced():
    assert merged_trees({"a": {"b": 1, "c": [1]}}, {"a": {"c": [2]}}) == {"a": {"b": 1, "c": [2]}}


def test_a_marked_table_is_replaced_whole():
    assert merged_trees({"a": {"b": 1}}, {"a": {"_replace_": True, "c": 2}}) == {"a": {"c": 2}}


def test_merging_does_not_touch_what_was_merged():
    below = {"a": {"b": 1}}
    merged_trees(below, {"a": {"b": 2}})
    assert below == {"a": {"b": 1}}


def test_the_upper_layer_says_where_a_key_stands():
    below = Layer({"a": 1}, {"a": "x:1"})
    merge(below, Layer({"a": 2}, {"a": "y:1"}))
    assert (below.tree, below.where) == ({"a": 2}, {"a": "y:1"})


def test_every_key_of_a_file_has_its_line(tmp_path):
    path = tmp_path / "r" / "a.yaml"
    path.parent.mkdir()
    path.write_text("a:\n  b: 1\nc: 2\n")
    assert read_layer(path).where == {"a": "r/a.yaml:1", "a.b": "r/a.yaml:2", "c": "r/a.yaml:3"}


@pytest.mark.parametrize("text", ["a: [1", "- 1", "text"])
def test_a_file_that_is_no_table_is_refused(tmp_path, text):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=r"a\.yaml"):
        read_layer(path)


def test_dotted_keys_go_down():
    tree = nested("a.b", 1)
    assert tree == {"a": {"b": 1}}
    assert table_at(tree, "a") == {"b": 1}
    assert table_at(tree, "x.y") is None
    assert drop(tree, "a.b")
    assert not drop(tree, "a.b")
    problems = []
    take_away(tree, "a.c", problems)
    assert len(problems) == 1


def words_in(kind, key=""):
    """(a tree with one word of the schema at its place, dotted key, word), for every word of every setting."""
    if get_origin(kind) is Literal:
        yield from ((key, word) for word in get_args(kind))
    elif is_dataclass(kind):
        for name, inner in get_type_hints(kind).items():
            yield from words_in(inner, f"{key}.{name}" if key else name)
    elif get_origin(kind) is dict:
        yield from words_in(get_args(kind)[1], f"{key}.any")
    else:
        for inner in get_args(kind):
            yield from words_in(inner, key)


@pytest.mark.parametrize(("key", "word"), sorted(set(words_in(Recipe))))
def test_every_word_of_the_schema_can_be_written_without_quotes(key, word):
    tree = nested(key, yaml.safe_load(word))
    assert table_at(with_words(tree, Recipe), key) == word


@dataclass
class Words:
    """A schema with words in every kind of place."""

    one: Literal["32", "1.5", "no number"] | None = None
    many: list[Literal["8", "16"]] | None = None
    inner: "dict[str, Words] | None" = None
    number: int = 0
    anything: dict | None = None


def test_only_numbers_that_are_words_become_words():
    tree = {
        "inner": {"a": {"one": 1.5, "many": [8, "16", 4], "number": 32}, "b": None},
        "one": 33,
        "number": 32,
        "anything": {"one": 32},
        "unknown": 32,
    }
    words = {**tree, "inner": {"a": {"one": "1.5", "many": ["8", "16", 4], "number": 32}, "b": None}}
    assert with_words(tree, Words) == words
    assert with_words({"one": True}, Words) == {"one": True}
    assert with_words([32], Words) == [32]
    assert tree["inner"]["a"]["one"] == 1.5, "the tree stays as it is"
