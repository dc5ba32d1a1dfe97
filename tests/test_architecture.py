"""The house keeps its floors: every import is read, none is run."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "audio_lm"
MODULES = sorted(PACKAGE.rglob("*.py"))
FLOORS = (
    ("errors", "units", "runtime", "masking", "files"),
    ("srwt", "languages", "seals", "names", "ranges", "safe_yaml", "result_keys"),
    ("tasks", "metrics", "tracking", "survival", "checkpoints"),
    ("prompts", "pack"),
    ("data", "model"),
    ("training", "evaluation", "corpora"),
    ("recipe", "layers"),
    ("stand_ins", "published", "checks", "overrides"),
    ("compose",),
    ("planning", "rendering"),
    ("pipeline",),
    ("forecast", "bench"),
    ("run", "describe"),
    ("export",),
    ("arguments",),
    ("jobs", "measuring"),
    ("cli",),
)
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names}
HOMES = {
    "mlflow": {"tracking"},
    "lhotse": {"data", "corpora", "planning", "rendering", "pipeline"},
    "omegaconf": {"compose"},
    "torchmetrics": {"metrics", "training"},
    "lightning": {"training", "data", "pipeline", "tracking"},
}
MAX_LINES, MAX_FUNCTION_LINES, MIN_TESTED_LINES = 400, 60, 40


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            if node.module == "audio_lm":
                yield from (f"audio_lm.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_from_its_own_package_and_lower_floors(path):
    room = room_of(path)
    if room == "__init__":
        return
    for name in imported(path):
        top, _, rest = name.partition(".")
        if top == "audio_lm" and rest:
            other = rest.split(".")[0]
            is_lower = FLOOR_OF[other] < FLOOR_OF[room]
            assert other == room or is_lower, f"{room} must not know {other}"
        if top in HOMES:
            assert room in HOMES[top], f"{top} lives in {HOMES[top]} and not in {room}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_and_functions_stay_short(path):
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_LINES, "split the file"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < MAX_FUNCTION_LINES, f"split {node.name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_has_its_mirrored_test(path):
    if path.name in ("__init__.py", "config.py") or len(path.read_text().splitlines()) <= MIN_TESTED_LINES:
        return
    mirror = ROOT / "tests" / path.relative_to(PACKAGE).with_name(f"test_{path.name}")
    assert mirror.is_file(), f"{mirror.relative_to(ROOT)} is not there"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("__init__.py")), ids=lambda path: path.parent.name)
def test_a_package_says_what_it_is_and_nothing_else(path):
    (only,) = ast.parse(path.read_text()).body
    assert isinstance(only, ast.Expr)
    assert isinstance(only.value, ast.Constant)


def test_every_room_has_a_floor():
    rooms = {room_of(path) for path in MODULES} - {"__init__"}
    assert rooms == set(FLOOR_OF)
