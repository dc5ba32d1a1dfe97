"""Trees of settings and where each of their keys stands: reading, merging, cutting.

Nothing here knows what a recipe is.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audio_lm.common.errors import RecipeError
from audio_lm.common.safe_yaml import MAX_CHARACTERS, Tree, Where, read_yaml


@dataclass
class Layer:
    """A tree of settings and where each of its keys stands."""

    tree: Tree
    where: Where = field(default_factory=dict)


def read_layer(path: Path) -> Layer:
    """A YAML file with the line of every key.

    Raises:
        RecipeError: it is no table, or beyond the bounds of ``safe_yaml``.
    """
    shown = str(path.relative_to(path.parents[1]) if len(path.parents) > 1 else path)
    read = read_yaml(text_of(path), shown)
    if not isinstance(read.value, dict):
        raise RecipeError(
            f"{path}: holds {type(read.value).__name__} and not a table of settings; mend the file"
        )
    return Layer(read.value, read.where)


def text_of(path: Path) -> str:
    """The text of a file, or as much of it as is needed to see that it is too long.

    Raises:
        RecipeError: it cannot be read, or is not in UTF-8.
    """
    try:
        with path.open("rb") as file:
            data = file.read(4 * MAX_CHARACTERS + 1)
        return data.decode("utf-8-sig", "ignore" if len(data) > 4 * MAX_CHARACTERS else "strict")
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read ({error.strerror}); give a file that can") from error
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RecipeError(f"{path}:{line}: not YAML (not in UTF-8); save the file as UTF-8") from error


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of every leaf; an empty table is one.

    >>> list(flatten({"a": {"b": 1}, "c": {}}))
    [('a.b', 1), ('c', {})]
    """
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def merge(below: Layer, above: Layer) -> None:
    """Lay one layer over another."""
    below.tree = merge_trees(below.tree, above.tree)
    below.where |= above.where


def merge_trees(below: Any, above: Any) -> Any:
    """Tables are merged, anything else is replaced; so is a table marked ``_replace_: true``."""
    if not isinstance(above, dict):
        return above
    above = dict(above)
    if above.pop("_replace_", False) or not isinstance(below, dict):
        return {key: merge_trees({}, value) for key, value in above.items()}
    return below | {key: merge_trees(below.get(key), value) for key, value in above.items()}


def table_at(tree: Any, key: str) -> Any:
    """The table or value at a dotted key; none where there is nothing."""
    for name in key.split(".") if key else ():
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree


def as_table(value: Any) -> dict[str, Any]:
    """A table; an empty one where there is something else."""
    return value if isinstance(value, dict) else {}


def nest(key: str, value: Any) -> Tree:
    """A tree with one value at a dotted key."""
    for name in reversed(key.split(".")):
        value = {name: value}
    return dict(value)


def delete_key(tree: Tree, key: str, problems: list[str]) -> None:
    """Remove what the command line does not want; note it where there is nothing to remove."""
    parent, _, leaf = key.rpartition(".")
    table = table_at(tree, parent)
    if not isinstance(table, dict) or leaf not in table:
        problems.append(f"command line: `~{key}` - there is no such key to take away")
        return
    del table[leaf]


def drop(tree: Tree, key: str) -> bool:
    """Remove a dotted key; whether it was there."""
    parent, _, leaf = key.rpartition(".")
    table = table_at(tree, parent)
    if not isinstance(table, dict) or leaf not in table:
        return False
    del table[leaf]
    return True
