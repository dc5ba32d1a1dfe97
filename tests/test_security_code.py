"""Calls that no module of ``audio_lm`` may contain."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CODE = [*sorted((ROOT / "audio_lm").rglob("*.py")), ROOT / "train.py"]


UNSAFE_KEYWORDS = {"weights_only": False, "trust_remote_code": True, "shell": True, "allow_pickle": True}
UNSAFE_CALLS = {
    "eval", "exec", "os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "yaml.unsafe_load",
    "yaml.full_load", "yaml.load_all", *(f"{name}.{verb}" for name in ("pickle", "dill", "marshal", "cloudpickle", "joblib")
    for verb in ("load", "loads", "Unpickler")),
}  # fmt: skip
SAFE_LOADERS = {"SafeLoader", "CSafeLoader"}


def dotted(node):
    """``a.b.c`` of a chain of attributes, from the last call or index on."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join(reversed([*parts, node.id] if isinstance(node, ast.Name) else parts))


def origins(tree):
    """Local name -> dotted name of what it was imported from."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.asname, alias.name) for alias in node.names if alias.asname)
        elif isinstance(node, ast.ImportFrom):
            yield from ((alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names)


def unsafe_calls(source):
    """Calls that execute what they read, pass text to a shell, or unpack archives without a filter."""
    tree = ast.parse(source)
    origin_of = dict(origins(tree))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func)
        first, _, rest = name.partition(".")
        name = origin_of.get(first, first) + (f".{rest}" if rest else "")
        keywords = {keyword.arg: keyword.value for keyword in node.keywords}
        constants = {key: value.value for key, value in keywords.items() if isinstance(value, ast.Constant)}
        where = f"line {node.lineno}: {name}"
        if name in UNSAFE_CALLS:
            yield where
        yield from (f"{where} {key}" for key, value in UNSAFE_KEYWORDS.items() if constants.get(key) is value)
        if name == "torch.load" and constants.get("weights_only") is not True:
            yield f"{where} without weights_only"
        if (
            name in ("yaml.load", "yaml.compose")
            and dotted(keywords.get("Loader")).rpartition(".")[2] not in SAFE_LOADERS
        ):
            yield f"{where} without SafeLoader"
        unpacks = name.rpartition(".")[2] in ("extractall", "extract", "unpack_archive")
        if unpacks and constants.get("filter") != "data" and constants.get("format") != "zip":
            yield f"{where} without filter"


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_executes_what_it_reads(path):
    assert not list(unsafe_calls(path.read_text()))


@pytest.mark.parametrize(
    "source",
    [
        "torch.load(path, weights_only=False)",
        "torch.load(path)",
        "import torch as t\nt.load(path)",
        "trainer.fit(module, weights_only=False)",
        "pickle.load(file)",
        "from pickle import loads\nloads(data)",
        "import pickle as p\np.Unpickler(file).load()",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text)",
        "yaml.load(text, Loader=yaml.Loader)",
        "from yaml import load, FullLoader\nload(text, Loader=FullLoader)",
        "yaml.unsafe_load(text)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
        "subprocess.run(text, shell=True)",
        "os.system(text)",
        "from os import system\nsystem(text)",
        "tar.extractall(folder)",
        "tar.extractall(folder, filter='fully_trusted')",
        "shutil.unpack_archive(path, folder)",
        "eval(text)",
        "exec(text)",
    ],
)
def test_an_unsafe_call_is_found(source):
    assert list(unsafe_calls(source)), "the control"


@pytest.mark.parametrize(
    "source",
    [
        "torch.load(path, weights_only=True)",
        "model.eval()",
        "yaml.load(text, Loader=yaml.SafeLoader)",
        "tar.extractall(folder, filter='data')",
        "json.load(file)",
        "class Restricted(pickle.Unpickler):\n    pass",
    ],
)
def test_a_safe_call_is_accepted(source):
    assert not list(unsafe_calls(source))
