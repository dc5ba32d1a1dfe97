from dataclasses import dataclass, field
from typing import Annotated

import pytest

from audio_lm.common.errors import RecipeError
from audio_lm.common.ranges import Range
from audio_lm.config.build import build_config, place_of
from audio_lm.config.yaml_layers import Layer


@dataclass(frozen=True)
class Inner:
    steps: Annotated[int, Range(1, 10)] = 1

    def __post_init__(self):
        if self.steps == 7:
            raise RecipeError("7 is not possible; choose another")


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner = field(default_factory=Inner)
    tables: dict[str, Inner] = field(default_factory=dict)


WHERE = {"name": "a.yaml:1", "inner": "a.yaml:2", "inner.steps": "a.yaml:3", "nam": "a.yaml:4"}


def build(tree):
    problems = []
    return build_config(Outer, Layer(tree, WHERE), problems), problems


def test_a_tree_becomes_the_dataclasses_of_its_schema():
    assert build({"name": "x", "tables": {"a": {"steps": 3}}}) == (Outer("x", tables={"a": Inner(3)}), [])


@pytest.mark.parametrize(
    ("tree", "place", "message"),
    [
        ({"inner": {}}, "a.yaml:1", "is missing"),
        ({"name": "x", "nam": 1}, "a.yaml:4", "`nam`"),
        ({"name": "x", "inner": {"steps": 11}}, "a.yaml:3", "10 or less"),
        ({"name": "x", "inner": {"steps": 7}}, "a.yaml:2", "choose another"),
        ({"name": "x", "inner": [1]}, "a.yaml:2", "must be a table"),
        ({"name": "${oc.env:HOME}${x}"}, "a.yaml:1", "only supported reference"),
    ],
)
def test_a_problem_has_its_file_and_line(tree, place, message):
    _, problems = build(tree)
    assert any(problem.startswith(place) and message in problem for problem in problems), problems


def test_unknown_keys_do_not_hide_other_problems():
    _, problems = build({"name": "x", "nam": 1, "naem": 2})
    assert len(problems) == 2


def test_the_place_of_a_key_without_a_line_is_that_of_its_table():
    assert place_of(WHERE, "inner.other.deep") == "a.yaml:2"
    assert place_of(WHERE, "else") == "recipe"
