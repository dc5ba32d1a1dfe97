"""YAML within bounds: plain tables, lists and values, each key once, every key with its line.

Bounds are checked on the stream of events, before a tree exists: a text of 1 kB can stand for
gigabytes (aliases of aliases), for a number that takes minutes to read, or for a depth that ends the interpreter.
Only plain values are read: texts, numbers, true, false and null.
"""

from dataclasses import dataclass, field
from typing import Any

import yaml

from audio_lm.common.errors import RecipeError

Tree = dict[str, Any]
Where = dict[str, str]

COMMAND_LINE = "command line"
MAX_CHARACTERS = 1_000_000
MAX_DEPTH = 40
MAX_NODES = 6_000  # with every alias written out; the recipes of the papers have about 600, and each takes OmegaConf 0.3 ms
MAX_DIGITS = 40  # of a number, as it is written
MAX_KEY_LENGTH = 500
MERGE = "tag:yaml.org,2002:merge"
NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
PLAIN = (*NUMBERS, *(f"tag:yaml.org,2002:{name}" for name in ("str", "bool", "null", "map", "seq")))
Loader: Any = getattr(
    yaml, "CSafeLoader", yaml.SafeLoader
)  # the first is ten times faster and not in every wheel


@dataclass
class Read:
    """A YAML document."""

    value: Any
    where: Where = field(default_factory=dict)
    """Dotted key -> ``file:line``."""


def read_yaml(text: str, file: str) -> Read:
    """The one document of a text.

    Args:
        file: to name in messages; lines are counted from 1.

    Raises:
        RecipeError: it is no YAML, it is beyond a bound, or a key stands twice; names file and line.
    """
    if len(text) > MAX_CHARACTERS:
        place = _at(file, text.count("\n", 0, MAX_CHARACTERS))
        raise RecipeError(f"{place}: more than {MAX_CHARACTERS:,} characters; shorten it")
    try:
        _check_bounds(text, file)
        loader = Loader(text)
        try:
            node = loader.get_single_node()
            read = Read(None)
            if node is not None:
                read.value = _Builder(loader, file, read.where).built(node)
            return read
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise RecipeError(f"{_place(error, text, file)}: not YAML ({_reason(error)}); mend it") from error
    except UnicodeEncodeError as error:
        raise RecipeError(f"{file}: not YAML (half a character, {error.reason}); mend it") from error


def read_value(text: str, file: str = COMMAND_LINE) -> Any:
    """A value of a command line.

    Raises:
        RecipeError: as ``read_yaml``.
    """
    return read_yaml(text, file).value


def _check_bounds(text: str, file: str) -> None:
    """Refuse by the events alone what would become too large or too deep."""
    counter = _Counter()
    for event in yaml.parse(text, Loader=Loader):
        problem = counter.problem_after(event)
        if problem is not None:
            line = 0 if event.start_mark is None else event.start_mark.line
            raise RecipeError(f"{_at(file, line)}: {problem}; shorten it")


class _Counter:
    """Nodes and levels of a document, every alias written out."""

    def __init__(self) -> None:
        self.num_nodes = 0
        self.size_of_anchor: dict[str, int] = {}
        self.around: list[
            tuple[str | None, int]
        ] = []  # anchors of the collections around, and the nodes before each

    def problem_after(self, event: yaml.Event) -> str | None:
        """Count an event; says which bound it is beyond."""
        if isinstance(event, yaml.AliasEvent):
            if any(event.anchor == anchor for anchor, _ in self.around):
                return f"*{event.anchor} stands inside of what it names, which has no end"
            self.num_nodes += self.size_of_anchor.get(event.anchor or "", 0)
        elif isinstance(event, yaml.CollectionStartEvent):
            self.around.append((event.anchor, self.num_nodes))
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = self.around.pop()
            self.size_of_anchor |= {anchor: self.num_nodes - before} if anchor is not None else {}
        self.num_nodes += isinstance(event, yaml.NodeEvent)
        if len(self.around) > MAX_DEPTH:
            return f"more than {MAX_DEPTH} levels"
        return (
            None
            if self.num_nodes <= MAX_NODES
            else f"more than {MAX_NODES:,} keys and values, aliases written out"
        )


class _Builder:
    """Plain values of nodes, with the line of every key."""

    def __init__(self, loader: Any, file: str, where: Where) -> None:
        self.loader, self.file, self.where = loader, file, where

    def built(self, node: yaml.Node, prefix: str = "") -> Any:
        """The value of a node."""
        if node.tag not in PLAIN:
            what = repr(node.value[:MAX_DIGITS]) if isinstance(node, yaml.ScalarNode) else "this"
            raise self._refusal(
                node,
                f"{what} has the type {_kind(node)}, which is not YAML of plain values; put it in quotes",
            )
        if isinstance(node, yaml.MappingNode):
            return self._table(node, prefix)
        if isinstance(node, yaml.SequenceNode):
            return [self.built(inner, f"{prefix}{number}.") for number, inner in enumerate(node.value)]
        return self._scalar(node)

    def _table(self, node: yaml.MappingNode, prefix: str) -> Tree:
        table: Tree = {}
        line_of_key: dict[str, int] = {}
        for key_node, value_node in self._merged_first(node):
            if key_node.tag == MERGE:
                table = self._merged(value_node, prefix) | table
                continue
            key = self._key(key_node)
            if key in line_of_key:
                raise self._refusal(
                    key_node, f"key {key!r} stands there twice, first in line {line_of_key[key]}"
                )
            line_of_key[key] = key_node.start_mark.line + 1
            self.where[f"{prefix}{key}"] = _at(self.file, key_node.start_mark.line)
            table[key] = self.built(value_node, f"{prefix}{key}.")
        return table

    def _merged_first(self, node: yaml.MappingNode) -> list[tuple[yaml.Node, yaml.Node]]:
        """The pairs, what is merged in front, so that the places of a table's own keys win."""
        return sorted(node.value, key=lambda pair: pair[0].tag != MERGE)

    def _merged(self, node: yaml.Node, prefix: str) -> Tree:
        """The table that ``<<`` brings, or several of them, of which the first wins."""
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: Tree = {}
        for one in reversed(nodes):
            if not isinstance(one, yaml.MappingNode):
                raise self._refusal(one, "<< takes tables alone")
            merged |= self._table(one, prefix)
        return merged

    def _key(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise self._refusal(node, "a key is a table or a list")
        key = str(self.built(node))
        if len(key) > MAX_KEY_LENGTH:
            raise self._refusal(node, f"a key of {len(key):,} characters")
        return key

    def _scalar(self, node: yaml.Node) -> Any:
        if node.tag in NUMBERS and len(node.value) > MAX_DIGITS:
            raise self._refusal(node, f"a number of {len(node.value):,} characters")
        try:
            return self.loader.construct_object(node)
        except (ValueError, KeyError) as error:
            raise self._refusal(node, f"{node.value[:MAX_DIGITS]!r} is no {_kind(node)}") from error

    def _refusal(self, node: yaml.Node, what: str) -> RecipeError:
        return RecipeError(f"{_at(self.file, node.start_mark.line)}: {what}; mend it")


def _kind(node: yaml.Node) -> str:
    return str(node.tag).removeprefix("tag:yaml.org,2002:")


def _at(file: str, line: int) -> str:
    """A place; a command line has no lines."""
    return file if file == COMMAND_LINE else f"{file}:{line + 1}"


def _place(error: yaml.YAMLError, text: str, file: str) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is not None:
        return _at(file, mark.line)
    position = getattr(error, "position", None)  # of a character that YAML does not have
    return file if position is None else _at(file, text.count("\n", 0, position))


def _reason(error: yaml.YAMLError) -> str:
    told = [getattr(error, "context", None), getattr(error, "problem", None), getattr(error, "reason", None)]
    return ", ".join(" ".join(one.split()) for one in told if one) or type(error).__name__
