"""Trees of settings with the file and line of each key: reading, merging, deleting.

This module does not depend on the recipe schema.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audio_lm.common.errors import RecipeError
from audio_lm.common.safe_yaml import MAX_CHARACTERS, Tree, Where, read_yaml


@dataclass
class Layer:
    """Tree of settings, with the file and line of each key."""

    tree: Tree
    where: Where = field(default_factory=dict)


def read_layer(path: Path) -> Layer:
    """Read a YAML file with the line of each key.

    Raises:
        RecipeError: not a table, or beyond the bounds of ``safe_yaml``.
    """
    shown = str(path.relative_to(path.parents[1]) if len(path.parents) > 1 else path)
    read = read_yaml(text_of(path), shown)
    if not isinstance(read.value, dict):
        raise RecipeError(
            f"{path}: contains {type(read.value).__name__}, expected a table of settings; correct the file"
        )
    return Layer(read.value, read.where)


def text_of(path: Path) -> str:
    """Read a text file; of one that is too long, only as much as ``read_yaml`` needs to refuse it.

    Raises:
        RecipeError: the file cannot be read, or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            data = file.read(4 * MAX_CHARACTERS + 1)
        return data.decode("utf-8-sig", "ignore" if len(data) > 4 * MAX_CHARACTERS else "strict")
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read ({error.strerror}); name a readable file") from error
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RecipeError(f"{path}:{line}: not YAML (not in UTF-8); save the file as UTF-8") from error


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted key and value of each leaf; an empty table is a leaf.

    >>> list(flatten({"a": {"b": 1}, "c": {}}))
    [('a.b', 1), ('c', {})]
    """
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def merge(below: Layer, above: Layer) -> None:
    """Merge the layer ``above`` into ``below``, in place."""
    below.tree = merge_trees(below.tree, above.tree)
    below.where |= above.where


def merge_trees(below: Any, above: Any) -> Any:
    """Merge two trees: tables recursively, anything else and a table with ``_replace_: true`` is replaced."""
    if not isinstance(above, dict):
        return above
    above = dict(above)
    if above.pop("_replace_", False) or not isinstance(below, dict):
        return {key: merge_trees({}, value) for key, value in above.items()}
    return below | {key: merge_trees(below.get(key), value) for key, value in above.items()}


def table_at(tree: Any, key: str) -> Any:
    """Table or value at a dotted key; None if there is none."""
    for name in key.split(".") if key else ():
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree


def as_table(value: Any) -> dict[str, Any]:
    """Return a table as is, anything else as an empty table."""
    return value if isinstance(value, dict) else {}


def nest(key: str, value: Any) -> Tree:
    """Tree with one value at a dotted key."""
    for name in reversed(key.split(".")):
        value = {name: value}
    return dict(value)


def delete_key(tree: Tree, key: str, problems: list[str]) -> None:
    """Delete a dotted key for ``~key``; appends a message to ``problems`` if it does not exist."""
    parent, _, leaf = key.rpartition(".")
    table = table_at(tree, parent)
    if not isinstance(table, dict) or leaf not in table:
        problems.append(f"command line: `~{key}` - there is no such key to delete")
        return
    del table[leaf]


def drop(tree: Tree, key: str) -> bool:
    """Delete a dotted key; True if it existed."""
    parent, _, leaf = key.rpartition(".")
    table = table_at(tree, parent)
    if not isinstance(table, dict) or leaf not in table:
        return False
    del table[leaf]
    return True
