"""Recipe keys and metrics that have been renamed: refused with the new name in recipes, converted in earlier runs.

Kept for one release. Old names of metrics in the list of a benchmark are refused by ``find_metric``.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from audio_lm.common.safe_yaml import COMMAND_LINE, Tree, Where
from audio_lm.metrics.registry import RENAMED as RENAMED_METRICS
from audio_lm.metrics.registry import current_name

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
} | {f"published.*.{old}": new for old, new in RENAMED_METRICS.items()}
"""Old dotted key, with ``*`` for a name that the recipe chooses -> last component of the new key."""

VALUES: dict[str, Callable[[Any], Any]] = {
    "evaluation.untrained": lambda is_wanted: ["untrained"] if is_wanted else [],
}
"""Old dotted key -> conversion of its value, if its format has changed too."""

RESUME = {True: "auto", False: "never"}  # earlier boolean value of `resume` -> its value now


def new_key(key: str) -> str:
    """New name of a dotted key; a key that has not changed is returned as is.

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
    """Yield the renamed keys in a recipe: dotted key, its table, its name there, the new name."""
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
    """Remove settings with old names from a recipe; returns a message for each."""
    problems = []
    for key, table, name, new in old_keys(tree):
        del table[name]
        replacement = f"`{new}: {VALUES[key](True)}`" if key in VALUES else f"`{new}`"
        problems.append(f"{where.get(key, COMMAND_LINE)}: `{key}` is now {replacement}")
    if isinstance(value := tree.get("resume"), bool):
        del tree["resume"]
        problems.append(
            f"{where.get('resume', COMMAND_LINE)}: `resume: {str(value).lower()}` is now `resume: {RESUME[value]}`"
        )
    return problems


def rename_old_keys(tree: Tree) -> None:
    """Rename the old keys in the recipe of an earlier run, in place."""
    for key, table, name, new in old_keys(tree):
        value = table.pop(name)
        table[new] = VALUES.get(key, lambda same: same)(value)
    for _, benchmark in list(_tables(tree, ["evaluation", "benchmarks", "*"], "")):
        if isinstance(metrics := benchmark.get("metrics"), list):
            benchmark["metrics"] = [current_name(name) if isinstance(name, str) else name for name in metrics]
    if isinstance(tree.get("resume"), bool):
        tree["resume"] = RESUME[tree["resume"]]
