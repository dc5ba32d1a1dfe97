"""Conversion of a tree of settings to the dataclasses of a schema; all problems are reported, each with file and line."""

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cache
from typing import Any, TypeVar, cast

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from audio_lm.common import compat
from audio_lm.common.errors import RecipeError, first_line
from audio_lm.common.ranges import kind_errors, range_errors
from audio_lm.common.safe_yaml import Tree, Where
from audio_lm.config.schema import coerce_literals
from audio_lm.config.yaml_layers import Layer, as_table, drop, flatten

DEFAULTS_OF_A_STAGE = 60  # nodes that OmegaConf adds per stage
MAX_NODES_READ = 10_000  # bound of the time to find several schema errors; the tree is read again after each
VARIABLE = re.compile(r"\$\{oc\.env:\w+(?:,[^${}]*)?\}")
Config = TypeVar("Config")


def build_config(kind: type[Config], merged: Layer, problems: list[str]) -> Config | None:
    """Convert to dataclasses; a setting that does not fit the schema is reported and removed, to find all problems.

    Args:
        kind: dataclass of the whole tree.
        problems: messages are appended to it.
    """
    tree = coerce_literals(merged.tree, kind)
    if unreadable := [*unread_references(tree, merged.where), *kind_problems(tree, merged.where, kind)]:
        problems += unreadable
        return None
    num_nodes = 1 + len(list(flatten(tree))) + DEFAULTS_OF_A_STAGE * len(as_table(tree.get("stages")))
    for _ in range(max(1, MAX_NODES_READ // num_nodes)):
        try:
            # Both are new, so that OmegaConf need not copy them before it merges.
            config = OmegaConf.unsafe_merge(deepcopy(_schema(cast(Any, kind))), OmegaConf.create(tree))
            missing = sorted(OmegaConf.missing_keys(config))
            problems += [f"{place_of(merged.where, key)}: `{key}` - is missing; set it" for key in missing]
            if missing:
                return None
            container = OmegaConf.to_container(config, resolve=True)
            if outside := numbers_out_of_range(container, merged.where, kind):
                problems += outside
                return None
            built = OmegaConf.to_object(config)
            assert isinstance(built, kind), f"the schema is a {kind.__name__}"
            return built
        except RecipeError as error:
            problems.append(f"{place_of(merged.where, _refused_table(config))}: {error}")
            return None
        except OmegaConfBaseException as error:
            key = str(error.full_key or "")
            problems.append(f"{place_of(merged.where, key)}: `{key}` - {first_line(error)}")
            if not key or not drop(tree, key):
                return None
    return None


@cache
def _schema(kind: type[Any]) -> Any:
    """Schema of a dataclass, kept because reading its types takes longer than a copy."""
    return OmegaConf.structured(kind)


def _refused_table(config: Any, key: str = "") -> str:
    """Dotted key of the innermost table that fails to convert to its dataclass."""
    for name, inner in compat.inner_tables(config).items():
        try:
            OmegaConf.to_object(inner)
        except RecipeError:
            return _refused_table(inner, f"{key}.{name}" if key else name)
    return key


def place_of(where: Mapping[str, str], key: str) -> str:
    """File and line of a key, or of the closest table above it."""
    while key:
        if key in where:
            return where[key]
        key = key.rpartition(".")[0]
    return "recipe"


def unread_references(tree: Tree, where: Where) -> Iterator[str]:
    """Yield a message for each ``${...}`` other than ``${oc.env:NAME}``.

    References between values are refused because nested ones can double the size at each level.
    """
    for key, value in flatten(tree):
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and "${" in VARIABLE.sub("", text):
                yield f"{place_of(where, key)}: `{key}` - the only supported reference is ${{oc.env:NAME}}; write the value"


def kind_problems(tree: Tree, where: Where, kind: Any) -> list[str]:
    """Messages for tables, lists and single values where another of the three is expected."""
    return [f"{place_of(where, key)}: {message}" for key, message in kind_errors(kind, tree)]


def numbers_out_of_range(tree: Any, where: Where, kind: Any) -> list[str]:
    """Messages for numbers outside their range in the schema."""
    return [f"{place_of(where, key)}: {message}" for key, message in range_errors(kind, tree)]
