"""Recipe files: their names, and the chain of files from a recipe to the one that it is a variant of.

A variant names its counterpart in ``use.recipe`` and holds only what differs. This module does not
depend on the recipe schema.
"""

import os
from pathlib import Path

from audio_lm.common.errors import RecipeError
from audio_lm.common.names import is_name
from audio_lm.config.resources import SUFFIX, SWEEPS, Resource, find_resource, unknown_resource
from audio_lm.config.yaml_layers import Layer, as_table, read_layer

BASE = "recipe"  # key of `use`
SUFFIXES = (SUFFIX, ".yml")
TOP = "recipes"
MAX_CHAIN = 8


def find_recipe(path_or_name: str | Path, notes: list[str]) -> Path:
    """File of a recipe: a path, or the name of one of the working folder or of this package.

    Args:
        notes: messages for the console are appended.

    Raises:
        RecipeError: there is no such recipe; names the nearest.
    """
    path = Path(path_or_name)
    if path.suffix in SUFFIXES and os.path.isfile(path):
        return path
    found = _named(path.with_suffix("") if path.suffix in SUFFIXES else path)
    if found is None:
        raise RecipeError(unknown_resource("recipes", "recipe", str(path_or_name)))
    notes.append(found.note)
    return found.path


def recipe_chain(path: Path, notes: list[str]) -> list[Layer]:
    """Layers of a recipe and of those below it, lowest precedence first.

    A name in ``use.recipe`` is that of a file beside the recipe, or of a recipe that ``find_recipe`` finds. A recipe that
    names itself is a variant of the one of this package.

    Args:
        notes: messages for the console are appended.

    Raises:
        RecipeError: a recipe of the chain is unknown, or the chain is a circle.
    """
    layers = [read_layer(path)]
    while (name := as_table(layers[0].tree.get("use")).get(BASE)) is not None:
        at = layers[0].where.get(f"use.{BASE}", path.name)
        if len(layers) == MAX_CHAIN:
            raise RecipeError(
                f"{at}: use.{BASE} is {name!r}, the {MAX_CHAIN + 1}th recipe of a chain -- expected {MAX_CHAIN} at most, and "
                f"no circle -- name the recipe at its start"
            )
        path = _base(str(name), path, at, notes)
        base = read_layer(path)
        base.tree.pop("name", None)
        layers.insert(0, base)
    return layers


def used_pieces(layers: list[Layer]) -> Layer:
    """Layer with the table ``use`` of a chain; of two recipes the later wins."""
    used: dict[str, object] = {}
    where: dict[str, str] = {}
    for layer in layers:
        used |= as_table(layer.tree.get("use"))
        where |= {key: at for key, at in layer.where.items() if key.startswith("use.")}
    return Layer({"use": used}, where)


def _base(name: str, path: Path, at: str, notes: list[str]) -> Path:
    """File that a recipe names; folders elsewhere cannot be named, because the recipe may be somebody else's."""
    beside, found = path.parent / f"{name}{SUFFIX}", _named(Path(name))
    if is_name(name) and beside.is_file() and beside.absolute() != path.absolute():
        return beside
    if found is not None and found.path.absolute() == path.absolute():
        found = _named(Path(name), is_shipped=True)
    if found is None:
        raise RecipeError(f"{at}: {unknown_resource('recipes', 'recipe', name)}")
    notes.append(found.note)
    return found.path


def _named(name: Path, *, is_shipped: bool = False) -> Resource | None:
    """File of the recipe with a name; None if there is none."""
    parts = name.parts[1:] if name.parts[:1] == (TOP,) else name.parts
    if not parts or parts[0] == SWEEPS:
        return None
    return find_resource("recipes", "/".join(parts), is_shipped=is_shipped)
