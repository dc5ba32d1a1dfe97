"""Bounded YAML reader: plain tables, lists and values, unique keys, and the line of each key.

Bounds are checked on the event stream, before a tree is built: 1 kB of YAML can expand to gigabytes
(aliases of aliases), contain a number that takes minutes to parse, or nest deep enough to crash the interpreter.
Only plain values are read: strings, numbers, true, false and null.
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
MAX_NODES = 6_000  # aliases expanded; the recipes of the papers have about 600 nodes, and OmegaConf takes 0.3 ms for each
MAX_DIGITS = 40  # of a number, as written
MAX_KEY_LENGTH = 500
MERGE = "tag:yaml.org,2002:merge"
NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
PLAIN = (*NUMBERS, *(f"tag:yaml.org,2002:{name}" for name in ("str", "bool", "null", "map", "seq")))
# CSafeLoader is ten times faster, but not every wheel of PyYAML has it.
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass
class Read:
    """Parsed YAML document."""

    value: Any
    where: Where = field(default_factory=dict)
    """Dotted key -> ``file:line``."""


def read_yaml(text: str, file: str) -> Read:
    """Parse a text that holds one YAML document.

    Args:
        file: name for messages; lines count from 1.

    Raises:
        RecipeError: not YAML, beyond a bound, or a duplicate key; names file and line.
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
                read.value = _Builder(loader, file, read.where).build(node)
            return read
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise RecipeError(f"{_place(error, text, file)}: not YAML ({_reason(error)}); correct it") from error
    except UnicodeEncodeError as error:
        raise RecipeError(f"{file}: not YAML (an unpaired surrogate, {error.reason}); correct it") from error


def read_value(text: str, file: str = COMMAND_LINE) -> Any:
    """Parse a value from the command line.

    Raises:
        RecipeError: as ``read_yaml``.
    """
    return read_yaml(text, file).value


def _check_bounds(text: str, file: str) -> None:
    """Check the event stream for a document that is too large or too deep."""
    counter = _Counter()
    for event in yaml.parse(text, Loader=Loader):
        problem = counter.problem_after(event)
        if problem is not None:
            line = 0 if event.start_mark is None else event.start_mark.line
            raise RecipeError(f"{_at(file, line)}: {problem}; shorten it")


class _Counter:
    """Count of nodes and levels of a document, aliases expanded."""

    def __init__(self) -> None:
        self.num_nodes = 0
        self.size_of_anchor: dict[str, int] = {}
        # Anchors of the enclosing collections, and the number of nodes before each.
        self.enclosing: list[tuple[str | None, int]] = []

    def problem_after(self, event: yaml.Event) -> str | None:
        """Count an event; returns a message if a bound is exceeded."""
        if isinstance(event, yaml.AliasEvent):
            if any(event.anchor == anchor for anchor, _ in self.enclosing):
                return f"alias *{event.anchor} is inside its own anchor, an endless recursion"
            self.num_nodes += self.size_of_anchor.get(event.anchor or "", 0)
        elif isinstance(event, yaml.CollectionStartEvent):
            self.enclosing.append((event.anchor, self.num_nodes))
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = self.enclosing.pop()
            self.size_of_anchor |= {anchor: self.num_nodes - before} if anchor is not None else {}
        self.num_nodes += isinstance(event, yaml.NodeEvent)
        if len(self.enclosing) > MAX_DEPTH:
            return f"more than {MAX_DEPTH} levels"
        is_small = self.num_nodes <= MAX_NODES
        return None if is_small else f"more than {MAX_NODES:,} keys and values, aliases expanded"


class _Builder:
    """Converter of YAML nodes to plain values; records the line of each key."""

    def __init__(self, loader: Any, file: str, where: Where) -> None:
        self.loader, self.file, self.where = loader, file, where

    def build(self, node: yaml.Node, prefix: str = "") -> Any:
        """Plain value of a node."""
        if node.tag not in PLAIN:
            what = repr(node.value[:MAX_DIGITS]) if isinstance(node, yaml.ScalarNode) else "this"
            raise self._refusal(
                node, f"{what} has the type {_kind(node)}, expected a plain value", "put it in quotes"
            )
        if isinstance(node, yaml.MappingNode):
            return self._table(node, prefix)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(inner, f"{prefix}{number}.") for number, inner in enumerate(node.value)]
        return self._scalar(node)

    def _table(self, node: yaml.MappingNode, prefix: str) -> Tree:
        table: Tree = {}
        line_of_key: dict[str, int] = {}
        for key_node, value_node in self._merge_keys_first(node):
            if key_node.tag == MERGE:
                table = self._merge(value_node, prefix) | table
                continue
            key = self._key(key_node)
            if key in line_of_key:
                raise self._refusal(key_node, f"key {key!r} is given twice, first in line {line_of_key[key]}")
            line_of_key[key] = key_node.start_mark.line + 1
            self.where[f"{prefix}{key}"] = _at(self.file, key_node.start_mark.line)
            table[key] = self.build(value_node, f"{prefix}{key}.")
        return table

    def _merge_keys_first(self, node: yaml.MappingNode) -> list[tuple[yaml.Node, yaml.Node]]:
        """Pairs of a table with ``<<`` first, so that the lines of the table's own keys take precedence."""
        return sorted(node.value, key=lambda pair: pair[0].tag != MERGE)

    def _merge(self, node: yaml.Node, prefix: str) -> Tree:
        """Table that ``<<`` merges, or several, of which the first takes precedence."""
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: Tree = {}
        for item in reversed(nodes):
            if not isinstance(item, yaml.MappingNode):
                raise self._refusal(item, "<< accepts only tables")
            merged |= self._table(item, prefix)
        return merged

    def _key(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise self._refusal(node, "a key is a table or a list")
        key = str(self.build(node))
        if len(key) > MAX_KEY_LENGTH:
            raise self._refusal(node, f"a key of {len(key):,} characters")
        return key

    def _scalar(self, node: yaml.Node) -> Any:
        if node.tag in NUMBERS and len(node.value) > MAX_DIGITS:
            raise self._refusal(node, f"a number of {len(node.value):,} characters")
        try:
            return self.loader.construct_object(node)
        except (ValueError, KeyError) as error:
            raise self._refusal(node, f"{node.value[:MAX_DIGITS]!r} is not a valid {_kind(node)}") from error

    def _refusal(self, node: yaml.Node, fault: str, remedy: str = "correct it") -> RecipeError:
        return RecipeError(f"{_at(self.file, node.start_mark.line)}: {fault}; {remedy}")


def _kind(node: yaml.Node) -> str:
    return str(node.tag).removeprefix("tag:yaml.org,2002:")


def _at(file: str, line: int) -> str:
    """File and line; the command line has no lines."""
    return file if file == COMMAND_LINE else f"{file}:{line + 1}"


def _place(error: yaml.YAMLError, text: str, file: str) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is not None:
        return _at(file, mark.line)
    position = getattr(error, "position", None)  # of a character that YAML does not allow
    return file if position is None else _at(file, text.count("\n", 0, position))


def _reason(error: yaml.YAMLError) -> str:
    parts = [getattr(error, name, None) for name in ("context", "problem", "reason")]
    return ", ".join(" ".join(part.split()) for part in parts if part) or type(error).__name__
