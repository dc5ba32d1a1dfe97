"""Recipes and pieces of ``conf/``: those of the working folder first, then those of this package.

A file of the working folder replaces the one of the same name here, and a note says so. Recipes, mixtures, models and
tasks of one's own are therefore files beside one's data; nothing in this package is edited.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from audio_lm.common.errors import unknown
from audio_lm.common.names import is_name

Kind = Literal["recipes", "conf"]
PACKAGE = Path(__file__).parents[1]
OWN = Path()
"""Folder with ``recipes`` and ``conf`` of one's own."""

SUFFIX = ".yaml"
SWEEPS = "sweeps"
"""Subfolder of ``recipes`` whose files are no recipes."""


@dataclass(frozen=True)
class Resource:
    """YAML file that was found by its name."""

    path: Path

    shown: str
    """Path for messages; those of the working folder start with ``./``."""

    note: str = ""
    """Says which file is used, if two have the name."""


def resource_folder(kind: str) -> Path:
    """Folder ``recipes`` or ``conf`` of this package: inside an installed wheel, else next to the package."""
    installed = PACKAGE / f"_{kind}"
    return installed if installed.is_dir() else PACKAGE.parent / kind


def find_resource(kind: Kind, name: str, *, is_shipped: bool = False) -> Resource | None:
    """Find a file by its name; None if there is none.

    Args:
        name: below ``recipes`` or ``conf``, without the suffix: ``demo``, ``model/tiny``.
        is_shipped: leave out the working folder.
    """
    if not all(map(is_name, name.split("/"))):  # a name is no path
        return None
    shipped, own = (folder / f"{name}{SUFFIX}" for folder in (resource_folder(kind), OWN / kind))
    shown = f"{kind}/{name}{SUFFIX}"
    if is_shipped or not own.is_file():
        return Resource(shipped, shown) if shipped.is_file() else None
    if not shipped.is_file():
        return Resource(own, f"./{shown}")
    if own.samefile(shipped):
        return Resource(shipped, shown)
    note = f"./{shown} of this folder is used instead of audio_lm's {shown}; rename it to use that one"
    return Resource(own, f"./{shown}", note)


def resource_names(kind: Kind, below: str = "") -> list[str]:
    """Names of all files in a folder of ``recipes`` or ``conf``, of the working folder too.

    Recipes of a subfolder are named ``subfolder/name``; sweeps are no recipes.

    Args:
        below: folder inside, such as ``model``.
    """
    pattern = f"**/*{SUFFIX}" if kind == "recipes" else f"*{SUFFIX}"
    found = {
        path.relative_to(folder).with_suffix("").as_posix()
        for folder in (resource_folder(kind) / below, OWN / kind / below)
        for path in folder.glob(pattern)
    }
    return sorted(name for name in found if not name.startswith(f"{SWEEPS}/"))


def unknown_resource(kind: Kind, what: str, name: str, below: str = "") -> str:
    """Error message for a name that no file has."""
    place = f"{kind}/{below}".rstrip("/")
    see = f"audio_lm's {place}/ and ./{place}/"
    return unknown(what, name, resource_names(kind, below), see=see)
