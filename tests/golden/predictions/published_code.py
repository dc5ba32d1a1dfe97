"""Parts of published evaluation code, loaded from clones without what they import to run a model."""

import ast
import importlib.util
import random
import sys
import types
from pathlib import Path
from typing import Any


class Anything(types.ModuleType):
    """Module whose attributes are classes without content; for packages that the scoring half does not use."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = type(name, (), {"__init__": lambda self, *args, **options: None})
        setattr(self, name, value)
        return value


def stub(*names: str) -> None:
    """Put empty modules in the place of packages."""
    for name in names:
        sys.modules[name] = Anything(name)
        parent, _, child = name.rpartition(".")
        if parent in sys.modules:
            setattr(sys.modules[parent], child, sys.modules[name])


def package(name: str, folder: Path) -> None:
    """Register a package without running its ``__init__``."""
    module = types.ModuleType(name)
    module.__path__ = [str(folder)]
    sys.modules[name] = module


def module_at(path: Path, name: str) -> Any:
    """The module in a file."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def functions_of(path: Path, *names: str, **given: Any) -> dict[str, Any]:
    """Functions and classes of a script, without its imports."""
    tree = ast.parse(path.read_text())
    body = [node for node in tree.body if getattr(node, "name", None) in names]
    scope: dict[str, Any] = dict(given)
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module == "typing":
            body.insert(0, node)
    exec(compile(ast.Module(body, []), str(path), "exec"), scope)
    return scope


def score_loop(path: Path, scope: dict[str, Any]) -> None:
    """Run the last loop over ``results_dict`` of a script of Qwen-Audio, which prints the scores of each source."""
    loops = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.For) and isinstance(node.iter, ast.Name) and node.iter.id == "results_dict"
    ]
    exec(compile(ast.Module(loops[-1:], []), str(path), "exec"), scope)


def seeded() -> None:
    """Seed Python's generator as lmms-eval does by default."""
    random.seed(0)
