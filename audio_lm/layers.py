"""Trees of settings and where each of their keys stands: reading, merging, cutting.

Nothing here knows what a recipe is.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from audio_lm.errors import RecipeError

Tree = dict[str, Any]
Where = dict[str, str]


@dataclass
class Layer:
    """A tree of settings and where each of its keys stands."""

    tree: Tree
    where: Where = field(default_factory=dict)


def read_layer(path: Path) -> Layer:
    """A YAML file with the line of every key."""
    try:
        text = path.read_text(encoding="utf-8")
        tree, node = yaml.safe_load(text), yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not YAML ({' '.join(str(error).split())}); mend the file") from error
    if not isinstance(tree, dict):
        raise RecipeError(f"{path}: holds {type(tree).__name__} and not a table of settings; mend the file")
    shown = path.relative_to(path.parents[1]) if len(path.parents) > 1 else path
    return Layer(plain(tree), dict(_lines(node, str(shown))))


def plain(value: Any) -> Any:
    """The same with text keys, as OmegaConf wants them."""
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    return value


def _lines(node: Any, file: str, prefix: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = f"{prefix}{key.value}"
            yield name, f"{file}:{key.start_mark.line + 1}"
            yield from _lines(value, file, f"{name}.")


def merge(below: Layer, above: Layer) -> None:
    """Lay one layer over another."""
    below.tree = merged_trees(below.tree, above.tree)
    below.where |= above.where


def merged_trees(below: Any, above: Any) -> Any:
    """Tables are merged, anything else is replaced; so is a table marked ``_replace_: true``."""
    if not isinstance(above, dict):
        return above
    above = dict(above)
    if above.pop("_replace_", False) or not isinstance(below, dict):
        return {key: merged_trees({}, value) for key, value in above.items()}
    return below | {key: merged_trees(below.get(key), value) for key, value in above.items()}


def table_at(tree: Any, key: str) -> Any:
    """The table or value at a dotted key; none where there is nothing."""
    for name in key.split(".") if key else ():
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree


def nested(key: str, value: Any) -> Tree:
    """A tree with one value at a dotted key."""
    for name in reversed(key.split(".")):
        value = {name: value}
    return dict(value)


def take_away(tree: Tree, key: str, problems: list[str]) -> None:
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
