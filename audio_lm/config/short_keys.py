"""Short names of settings, for names of runs and columns: ``sgc`` instead of ``stages.train.mixture.weights.sgc``."""

from collections.abc import Iterable

IMPLIED = frozenset({"stages", "mixture", "weights", "parts", "settings", "evaluation", "benchmarks", "use"})
"""Tables that a reader of a recipe can infer from what is in them."""


class ShortKeys:
    """Shortest unambiguous names of the settings of one recipe.

    A name is the end of a dotted key without ``IMPLIED`` tables. Where several keys have the same end, it belongs to the
    shortest of them; where that is no single one, it is lengthened.

    Args:
        keys: dotted keys of all settings of the recipe.

    >>> short = ShortKeys(["seed", "stages.a.mixture.weights.sgc", "stages.a.validation.weights.sgc", "stages.a.steps"])
    >>> short["stages.a.mixture.weights.sgc"], short["stages.a.validation.weights.sgc"], short["seed"]
    ('sgc', 'validation.sgc', 'seed')
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self._owners: dict[str, tuple[int, str | None]] = {}
        for key in keys:
            parts = _explicit_parts(key)
            for name in _endings(parts):
                length, owner = self._owners.get(name, (len(parts) + 1, None))
                if len(parts) < length:
                    self._owners[name] = len(parts), key
                elif len(parts) == length and owner != key:
                    self._owners[name] = length, None

    def __getitem__(self, key: str) -> str:
        """Short name of a dotted key; the key itself where no part of it is unambiguous."""
        names = _endings(_explicit_parts(key))
        return next((name for name in names if self._owners.get(name, (0, None))[1] == key), key)


def _explicit_parts(key: str) -> list[str]:
    *tables, last = key.split(".")
    return [*(table for table in tables if table not in IMPLIED), last]


def _endings(parts: list[str]) -> list[str]:
    """Dotted endings of a key, the shortest first."""
    return [".".join(parts[start:]) for start in reversed(range(len(parts)))]
