"""Overrides on the command line: ``key=value`` sets, ``+key=value`` adds to an open table, ``~key`` deletes.

A ``*`` in a key stands for every entry of its table, as in ``stages.*.steps=10``.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from audio_lm.common.errors import RecipeError
from audio_lm.common.safe_yaml import COMMAND_LINE, MAX_DEPTH, MAX_KEY_LENGTH, Tree, read_value
from audio_lm.config.yaml_layers import (
    Layer,
    as_table,
    delete_key,
    flatten,
    merge,
    merge_trees,
    nest,
    table_at,
)

OPEN_TABLES = (
    "stages",
    "parts",
    "sources",
    "weights",
    "benchmarks",
    "corpora",
    "tasks",
    "settings",
    "published",
    "use",
)


def parse_use_overrides(overrides: Sequence[str]) -> Tree:
    """Parse the overrides of ``use.*``, which are needed before the pieces are read.

    Raises:
        RecipeError: an override is not key=value, or its key is malformed.
    """
    tree: Tree = {}
    for override in overrides:
        key, separator, value = override.lstrip("+").partition("=")
        if not separator and not override.startswith("~"):
            raise RecipeError(
                f"override {override!r} is not key=value; write for example `seed=1` or `~stages.chat`"
            )
        if not key or len(key) > MAX_KEY_LENGTH or key.count(".") >= MAX_DEPTH:
            raise RecipeError(f"override {override[:40]!r} has no valid key; write for example `seed=1`")
        if key.startswith("use."):
            tree[key.removeprefix("use.")] = value
    return tree


def key_of_override(override: str) -> str:
    """Dotted key that an override sets or deletes.

    >>> key_of_override("+a.b=1"), key_of_override("~a.b")
    ('a.b', 'a.b')
    """
    return override.lstrip("+").removeprefix("~").partition("=")[0]


def apply_overrides(merged: Layer, overrides: Sequence[str], problems: list[str]) -> None:
    """Apply the overrides of the command line; appends messages to ``problems``."""
    for override in (one for override in overrides for one in _every_entry(override, merged.tree)):
        if override.startswith("~"):
            delete_key(merged.tree, override[1:], problems)
            continue
        key, _, text = override.lstrip("+").partition("=")
        try:
            value = read_value(text)
        except RecipeError as error:
            problems.append(f"{error} (`{key}`)")
            continue
        if key == "stages" and isinstance(value, list):
            problems.append(f"{COMMAND_LINE}: `stages=[...]` is now `only=[...]`")
            continue
        parent, _, leaf = key.rpartition(".")
        table = table_at(merged.tree, parent)
        if not override.startswith("+") and _is_new_in_open_table(parent, leaf, table):
            problems.append(_new_entry(key, parent, leaf, table))
            continue
        keys = {key: value, **(dict(flatten(value, f"{key}.")) if isinstance(value, dict) else {})}
        merge(merged, Layer(nest(key, value), dict.fromkeys(keys, COMMAND_LINE)))


def _every_entry(override: str, tree: Tree) -> list[str]:
    """The override, or one for each entry of the table that the first ``*`` of its key stands for."""
    key, separator, value = override.partition("=")
    parent, star, rest = key.partition(".*")
    if not star or (rest and not rest.startswith(".")):
        return [override]
    names = as_table(table_at(tree, parent.lstrip("+~")))
    entries = [f"{parent}.{name}{rest}{separator}{value}" for name in names] if names else [override]
    return [one for entry in entries for one in (_every_entry(entry, tree) if entry != override else [entry])]


def _is_new_in_open_table(parent: str, leaf: str, table: Any) -> bool:
    return parent.rpartition(".")[2] in OPEN_TABLES and parent != "use" and leaf not in as_table(table)


def _new_entry(key: str, parent: str, leaf: str, table: Any) -> str:
    known = list(as_table(table))
    near = get_close_matches(leaf, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    entries = ", ".join(known) or "none"
    return f"{COMMAND_LINE}: `{key}` - {leaf!r} is not in {parent!r}; {hint}entries: {entries}; add a new one with +{key}=..."


def parse_settings(texts: Sequence[str]) -> Tree:
    """Parse ``key=value`` arguments into a table.

    >>> parse_settings(["seed=1", "clips.digits=100"])
    {'seed': 1, 'clips': {'digits': 100}}

    Raises:
        RecipeError: an argument is not key=value, or its value is not YAML.
    """
    tree: Tree = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator:
            raise RecipeError(f"setting {text!r} is not key=value; write for example seed=1")
        try:
            tree = merge_trees(tree, nest(key, read_value(value)))
        except RecipeError as error:
            raise RecipeError(f"setting {text[:40]!r}: {error}") from error
    return tree
