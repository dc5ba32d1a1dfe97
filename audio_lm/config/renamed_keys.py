"""Keys of recipes under the names they had before: answered with the new name, and read as it in the folders of runs.

Kept for one release.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from audio_lm.common.safe_yaml import COMMAND_LINE, Tree, Where

RENAMED = {
    "expect": "published",
    "survival": "fault_tolerance",
    "evaluation.untrained": "baselines",
    "stages.*.long_clips": "long_audio",
    "stages.*.max_bad_share": "max_bad_fraction",
    "stages.*.mixture.counts": "weight_by",
    "stages.*.mixture.max_passes": "max_epochs",
    "stages.*.validation.counts": "weight_by",
    "stages.*.validation.max_passes": "max_epochs",
}
"""Dotted key, ``*`` for a name that the recipe chooses -> last name of the new key."""

VALUES: dict[str, Callable[[Any], Any]] = {
    "evaluation.untrained": lambda is_wanted: ["untrained"] if is_wanted else [],
}
"""What becomes of a value where it is written otherwise now."""

RESUME = {True: "auto", False: "never"}  # what `resume` was, and the word for it


def new_key(key: str) -> str:
    """A dotted key under its new name.

    >>> new_key("stages.chat.long_clips"), new_key("stages.chat.mixture.max_passes.mine/all"), new_key("seed")
    ('stages.chat.long_audio', 'stages.chat.mixture.max_epochs.mine/all', 'seed')
    """
    for old, new in RENAMED.items():
        table = old.rpartition(".")[0]
        pattern = re.escape(old).replace(r"\*", r"([^.]+)") + r"(\..*)?"
        if match := re.fullmatch(pattern, key):
            *names, rest = match.groups()
            of = table.replace("*", names[0]) if names else table
            return f"{of}.{new}{rest or ''}" if of else f"{new}{rest or ''}"
    return key


def old_keys(tree: Tree) -> Iterator[tuple[str, Tree, str, str]]:
    """Old names in a recipe: dotted key, table it is in, its name there, the new name."""
    for old, new in RENAMED.items():
        *tables, name = old.split(".")
        for path, table in list(_tables(tree, tables, "")):
            if name in table:
                yield f"{path}{name}", table, name, new


def _tables(tree: Any, names: list[str], path: str) -> Iterator[tuple[str, Tree]]:
    if not isinstance(tree, dict):
        return
    if not names:
        yield path, tree
        return
    first, *rest = names
    for name in list(tree) if first == "*" else [first]:
        yield from _tables(tree.get(name), rest, f"{path}{name}.")


def remove_old_keys(tree: Tree, where: Where) -> list[str]:
    """Take settings with old names out of a recipe; gives a sentence for each."""
    problems = []
    for key, table, name, new in old_keys(tree):
        del table[name]
        word = f"`{new}: {VALUES[key](True)}`" if key in VALUES else f"`{new}`"
        problems.append(f"{where.get(key, COMMAND_LINE)}: `{key}` is now {word}")
    if isinstance(value := tree.get("resume"), bool):
        del tree["resume"]
        problems.append(
            f"{where.get('resume', COMMAND_LINE)}: `resume: {str(value).lower()}` is now `resume: {RESUME[value]}`"
        )
    return problems


def rename_old_keys(tree: Tree) -> None:
    """Give settings of a run's kept recipe their new names, in place."""
    for key, table, name, new in old_keys(tree):
        value = table.pop(name)
        table[new] = VALUES.get(key, lambda same: same)(value)
    if isinstance(tree.get("resume"), bool):
        tree["resume"] = RESUME[tree["resume"]]
