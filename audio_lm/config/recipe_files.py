"""Recipe files: their names, and the chain of files from a recipe to the one that it is a variant of.

A variant names its counterpart in ``use.recipe`` and holds only what differs. This module does not
depend on the recipe schema.
"""

import os
from pathlib import Path

from audio_lm.common.errors import RecipeError, unknown
from audio_lm.common.names import is_name
from audio_lm.config.yaml_layers import Layer, as_table, read_layer

BASE = "recipe"  # key of `use`
SUFFIXES = (".yaml", ".yml")
TOP = "recipes"
SWEEPS = "sweeps"
"""Subfolder whose files are no recipes."""
MAX_CHAIN = 8


def names_in(folder: Path) -> list[str]:
    """Names of the recipes in a folder, ``subfolder/name`` for those below it."""
    found = (path.relative_to(folder).with_suffix("") for path in folder.rglob("*.yaml"))
    return sorted(name.as_posix() for name in found if name.parts[0] != SWEEPS)


def find_recipe(path_or_name: str | Path, folder: Path) -> Path:
    """File of a recipe: a path, or the name of one in ``folder``.

    Raises:
        RecipeError: there is no such recipe; names the nearest.
    """
    path = Path(path_or_name)
    if path.suffix in SUFFIXES and os.path.isfile(path):
        return path
    found = _named(path.with_suffix("") if path.suffix in SUFFIXES else path, folder)
    if found is None:
        raise RecipeError(_unknown(str(path_or_name), folder))
    return found


def recipe_chain(path: Path, folder: Path) -> list[Layer]:
    """Layers of a recipe and of those below it, lowest precedence first.

    A name in ``use.recipe`` is that of a file beside the recipe, or of a recipe in ``folder``.

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
        path = _base(str(name), path, folder, at)
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


def _base(name: str, path: Path, folder: Path, at: str) -> Path:
    """File that a recipe names; folders elsewhere cannot be named, because the recipe may be somebody else's."""
    beside, found = path.parent / f"{name}.yaml", _named(Path(name), folder)
    if is_name(name) and beside.is_file() and beside.absolute() != path.absolute():
        return beside
    if found is None:
        raise RecipeError(f"{at}: {_unknown(name, folder)}")
    return found


def _named(name: Path, folder: Path) -> Path | None:
    """File of the recipe with a name, in ``folder`` or a subfolder; None if there is none."""
    parts = name.parts[1:] if name.parts[:1] == (TOP,) else name.parts
    if not parts or parts[0] == SWEEPS or not all(map(is_name, parts)):
        return None
    path = folder.joinpath(*parts[:-1], f"{parts[-1]}.yaml")
    return path if os.path.isfile(path) else None


def _unknown(name: str, folder: Path) -> str:
    return unknown("recipe", name, names_in(folder), see=f"{folder.name}/")
