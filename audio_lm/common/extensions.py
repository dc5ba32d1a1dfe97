"""Extensions: rows for tasks, metrics and corpora in other installed packages, found by the entry-point group ``audio_lm``.

An entry point names a module with ``TASKS``, ``METRICS`` or ``CORPORA``. Only what somebody has installed is imported,
never a file of the working folder or a name in a recipe, and not before a name is needed that this package lacks.
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Protocol, TypeVar

from audio_lm.common.errors import RecipeError, first_line, unknown

GROUP = "audio_lm"
PROJECT = Path("pyproject.toml")


class Named(Protocol):
    """Row of a registry."""

    @property
    def name(self) -> str:
        """Name in recipes."""


Row = TypeVar("Row", bound=Named)


@dataclass(frozen=True)
class Extension:
    """Rows of an installed package."""

    package: str
    """Name and version, for messages."""

    rows: Any
    """Module, or another object, with tables of rows as attributes."""


class Registry(Mapping[str, Row]):
    """Rows by name: those of this package, then those of extensions, which cannot replace them.

    Args:
        kind: what a row is, for messages.
        rows: those of this package.
        attribute: name of the table in an extension.
    """

    def __init__(self, kind: str, rows: Iterable[Row], *, attribute: str) -> None:
        self.kind = kind
        self.attribute = attribute
        self.built_in: dict[str, Row] = {row.name: row for row in rows}

    def __getitem__(self, name: str) -> Row:
        return self.built_in[name] if name in self.built_in else self.added()[name][0]

    def __iter__(self) -> Iterator[str]:
        return iter((*self.built_in, *self.added()))

    def __len__(self) -> int:
        return len(self.built_in) + len(self.added())

    def __or__(self, other: Mapping[str, Row]) -> dict[str, Row]:
        return {**self, **other}

    def added(self) -> dict[str, tuple[Row, str]]:
        """Rows of extensions, each with the package it comes from.

        Raises:
            RecipeError: an extension cannot be imported, has something else in its table, or a name that exists already.
        """
        found: dict[str, tuple[Row, str]] = {}
        kind_of_row = type(next(iter(self.built_in.values())))
        for extension in extensions():
            for row in getattr(extension.rows, self.attribute, ()):
                if not isinstance(row, kind_of_row):
                    raise RecipeError(
                        f"{self.attribute} of {extension.package} has {row!r} -- expected only {kind_of_row.__name__}s -- "
                        f"correct it, or uninstall the package"
                    )
                if row.name in self.built_in or row.name in found:
                    owner = found[row.name][1] if row.name in found else "audio_lm"
                    raise RecipeError(
                        f"{self.kind} {row.name!r} of {extension.package} exists already in {owner} -- expected a name of its "
                        f"own -- rename it, or uninstall one of the packages"
                    )
                found[row.name] = (row, extension.package)
        return found

    def package_of(self, name: str) -> str | None:
        """Name and version of the package that a row comes from; None for this one, and for unknown names."""
        return None if name in self.built_in or name not in self else self.added()[name][1]

    def unknown(self, name: str, *, see: str) -> str:
        """Error message for an unknown name."""
        return with_hint(unknown(self.kind, name, [*self], see=see))


@cache
def extensions() -> tuple[Extension, ...]:
    """Import the extensions that are installed.

    Raises:
        RecipeError: one cannot be imported.
    """
    points = sorted(entry_points(group=GROUP), key=lambda point: point.name)
    return tuple(Extension(_package(point), _load(point)) for point in points)


def _package(point: EntryPoint) -> str:
    return point.name if point.dist is None else f"{point.dist.name} {point.dist.version}"


def _load(point: EntryPoint) -> object:
    try:
        return point.load()
    except (
        ImportError,
        AttributeError,
        NameError,
        SyntaxError,
        TypeError,
        ValueError,
        LookupError,
        OSError,
    ) as error:
        raise RecipeError(
            f"entry point {point.name!r} = {point.value!r} of {_package(point)} cannot be imported "
            f"({type(error).__name__}: {first_line(error)}) -- expected a module with TASKS, METRICS or CORPORA -- correct it, "
            f"or uninstall the package"
        ) from error


def with_hint(message: str) -> str:
    """Message about an unknown name, with a hint if the extension of the working folder is not installed."""
    missing = _declared_here() - {point.name for point in entry_points(group=GROUP)}
    if not missing:
        return message
    return f"{message} The package of this folder is not installed ({PROJECT} declares it): run `pip install -e .`"


def _declared_here() -> set[str]:
    """Names of the entry points that the project in the working folder declares."""
    try:
        table: Any = tomllib.loads(PROJECT.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return set()
    for key in ("project", "entry-points", GROUP):
        table = table.get(key) if isinstance(table, dict) else None
    return set(table) if isinstance(table, dict) else set()
