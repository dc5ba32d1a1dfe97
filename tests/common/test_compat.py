"""Private names of other libraries: collected in ``compat``, each with the versions it was seen in."""

import ast
import inspect
from pathlib import Path

import pytest
import torch

from audio_lm.common import compat

PACKAGE = Path(compat.__file__).parents[1]
FUNCTIONS = [
    function
    for _, function in inspect.getmembers(compat, inspect.isfunction)
    if function.__module__ == compat.__name__
]
OURS = {"self", "cls", "super"}


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_every_entry_says_where_it_was_seen(function):
    assert "Seen in" in function.__doc__


def private_names(path):
    """Imports of private modules and names, and private attributes of anything but our own objects."""
    tree = ast.parse(path.read_text())
    imported = {
        alias.asname or alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not (node.module or "").startswith(("audio_lm", "__")):
            if any(part.startswith("_") for part in (node.module or "").split(".")):
                yield node.lineno, node.module
            yield from ((node.lineno, one.name) for one in node.names if one.name.startswith("_"))
        elif isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.endswith("__"):
            owner = node.value
            while isinstance(owner, ast.Attribute | ast.Call | ast.Subscript):
                owner = owner.func if isinstance(owner, ast.Call) else owner.value
            if isinstance(owner, ast.Name) and owner.id in imported | {
                "trainer",
                "module",
                "model",
                "client",
            }:
                yield node.lineno, ast.unparse(node)


EXCUSED = {
    ("fault_tolerance/processes.py", "os._exit"),  # documented in spite of its name
}


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_private_names_of_libraries_are_in_one_module(path):
    name = str(path.relative_to(PACKAGE))
    if name == "common/compat.py":
        return
    found = [(line, what) for line, what in private_names(path) if (name, what) not in EXCUSED]
    assert not found, found


def test_many_tensors_at_once_are_as_one_by_one():
    tensors = [torch.arange(3.0), torch.ones(2, 2)]
    copies = [torch.zeros_like(one) for one in tensors]
    compat.foreach_copy(copies, tensors)
    compat.foreach_add(copies, tensors)
    compat.foreach_scale(copies, torch.tensor(0.5))
    for copy, one, norm in zip(copies, tensors, compat.foreach_norm(copies), strict=True):
        torch.testing.assert_close(copy, one)
        torch.testing.assert_close(norm, one.norm())


def test_views_share_their_storage():
    tensor = torch.zeros(4)
    assert compat.storage_address(tensor) == compat.storage_address(tensor[1:])
    assert compat.storage_address(tensor) != compat.storage_address(torch.zeros(4))
