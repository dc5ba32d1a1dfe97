"""Layers of packages: imports point to lower floors only. Every import is parsed, none is executed."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "audio_lm"
MODULES = sorted(PACKAGE.rglob("*.py"))
FLOORS = (
    ("common",),
    ("tasks", "metrics", "fault_tolerance", "checkpoints", "tracking", "model"),
    ("prompts", "training"),
    ("data", "evaluation"),
    ("corpora",),
    ("config",),
    ("pipeline",),
    ("bench", "preview", "run"),
    ("chat", "export", "sweep"),
    ("endpoint", "web"),
    ("cli",),
    ("notebook",),
)
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names}
HOMES = {
    "optuna": {"sweep"},
    "sklearn": {"sweep"},
    "mlflow": {"tracking"},
    "lhotse": {"data", "corpora", "pipeline", "preview", "notebook"},
    "omegaconf": {"config", "common"},
    "lightning": {"training", "data", "pipeline", "tracking", "run"},
}
MAX_LINES, MAX_FUNCTION_LINES, MIN_TESTED_LINES = 400, 60, 40
MAX_CONSTRUCTOR_PARAMETERS = 9


def package_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            if node.module == "audio_lm":
                yield from (f"audio_lm.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_from_its_own_package_and_lower_floors(path):
    package = package_of(path)
    if package == "__init__":
        return
    for name in imports_of(path):
        top, _, rest = name.partition(".")
        if top == "audio_lm" and rest:
            other = rest.split(".")[0]
            is_lower = FLOOR_OF[other] < FLOOR_OF[package]
            assert other == package or is_lower, f"{package} must not import {other}"
        if top in HOMES:
            assert package in HOMES[top], f"{top} may be imported in {HOMES[top]}, not in {package}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_and_functions_stay_short(path):
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_LINES, "split the file"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < MAX_FUNCTION_LINES, f"split {node.name}"


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("*.py")), ids=lambda path: path.stem)
def test_files_of_tests_stay_short(path):
    assert len(path.read_text().splitlines()) <= MAX_LINES, "split the file"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_has_its_mirrored_test(path):
    if path.name in ("__init__.py", "config.py") or len(path.read_text().splitlines()) <= MIN_TESTED_LINES:
        return
    mirror = ROOT / "tests" / path.relative_to(PACKAGE).with_name(f"test_{path.name}")
    assert mirror.is_file(), f"{mirror.relative_to(ROOT)} is missing"


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*/**/__init__.py")), ids=lambda path: path.parent.name)
def test_a_package_says_what_it_is_and_nothing_else(path):
    (only,) = ast.parse(path.read_text()).body
    assert isinstance(only, ast.Expr)
    assert isinstance(only.value, ast.Constant)


def test_every_package_has_a_floor_and_every_module_a_package():
    packages = {package_of(path) for path in MODULES} - {"__init__"}
    assert packages == set(FLOOR_OF)
    assert [path.name for path in PACKAGE.glob("*.py")] == ["__init__.py"]


FIXED_BY_TORCH = {"closure", "fn"}  # parameters of methods that torch and torchmetrics call


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_functions_are_named_protocols_and_constructors_are_short(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.FunctionDef):
            continue
        parameters = [*node.args.args, *node.args.kwonlyargs]
        for one in parameters:
            is_function = one.annotation is not None and "Callable" in ast.unparse(one.annotation)
            assert not is_function or one.arg in FIXED_BY_TORCH, (
                f"{node.name}({one.arg}=...) takes a function; name its protocol"
            )
        if node.name == "__init__":
            assert len(parameters) - 1 <= MAX_CONSTRUCTOR_PARAMETERS, (
                "a constructor with a configuration is shorter"
            )


def defined_names(path):
    """Names that a module defines itself: at the top level, also under conditions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def test_our_names_are_imported_from_the_modules_that_define_them():
    dotted = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in MODULES}
    defined = {name: {*defined_names(path)} for name, path in dotted.items()}
    wrong = []
    for path in (*MODULES, *sorted((ROOT / "tests").rglob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom) or node.module not in defined:
                continue
            names = {alias.name for alias in node.names} - defined[node.module]
            imported = ast.walk(ast.parse(dotted[node.module].read_text())) if names else ()
            origins = {
                alias.name: each.module
                for each in imported
                if isinstance(each, ast.ImportFrom)
                for alias in each.names
            }
            wrong += [
                f"{path.relative_to(ROOT)}: {name} is in {origins[name]}, not in {node.module}"
                for name in names
                if str(origins.get(name)).startswith("audio_lm.")
            ]
    assert not wrong
