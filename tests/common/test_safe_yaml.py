import subprocess
import sys
import time
from itertools import pairwise

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from audio_lm.common.errors import RecipeError
from audio_lm.common.safe_yaml import MAX_DEPTH, MAX_NODES, read_value, read_yaml

NAMES = "abcdefghij"
ALIASES = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{below}'] * 9)}]\n" for below, name in pairwise(NAMES)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{name}: &{name} {{<<: [{','.join([f'*{below}'] * 9)}], y: *{below}}}\n"
    for below, name in pairwise(NAMES)
)
ATTACKS = {
    "aliases of aliases": (ALIASES, "f.yaml:[45]: more than"),
    "merges of merges": (MERGES, r"f.yaml:\d: more than"),
    "levels in lines": (
        "".join(f"{'  ' * level}k:\n" for level in range(300)),
        f"f.yaml:{MAX_DEPTH + 1}: more than {MAX_DEPTH} levels",
    ),
    "levels in braces": (
        "a:\n  " + "{a: " * 300 + "1" + "}" * 300,
        f"f.yaml:2: more than {MAX_DEPTH} levels",
    ),
    "100 000 open lists": ("a: " + "[" * 100_000, "f.yaml:1: more than"),
    "100 000 keys": ("".join(f"{number}: 1\n" for number in range(100_000)), r"f.yaml:\d+: more than"),
    "2 MB": ("a: 1\n" * 400_000, r"f.yaml:\d+: more than 1,000,000 characters"),
    "5 000 digits": ("a: 1\nseed: " + "9" * 5_000, "f.yaml:2: a number of 5,000 characters"),
    "5 000 digits of 16": ("seed: 0x" + "f" * 5_000, "f.yaml:1: a number of 5,002 characters"),
    "base 60": ("seed: 1" + ":30" * 50_000, "f.yaml:1: a number of"),
    "recursive alias": ("a: &a {b: *a}", "endless recursion"),
    "recursive alias in a list": ("a: &a [1, [*a]]", "endless recursion"),
    "a key twice": ("a: 1\nb: 2\na: 3\n", r"f.yaml:3: key 'a' is given twice, first in line 1"),
    "a key twice below": ("a:\n  b: 1\n  'b': 2\n", r"f.yaml:3: key 'b' is given twice, first in line 2"),
    "a key twice by value": ("1: a\n0x1: b\n", r"f.yaml:2: key '1' is given twice"),
    "tabs": ("a:\n\tb: 1\n", "f.yaml:2: not YAML"),
    "a date": ("a: 1\nb: 2024-01-01\n", "f.yaml:2: '2024-01-01' has the type timestamp"),
    "an invalid date": ("b: 2024-13-45\n", "f.yaml:1: .*timestamp"),
    "a set": ("b: !!set {x}\n", "f.yaml:1: "),
    "an object": ("b: !!python/object/apply:os.system [x]\n", "f.yaml:1: .*has the type python/object"),
    "an invalid number": ("b: !!float x\n", "f.yaml:1: 'x' is not a valid float"),
    "two documents": ("a: 1\n---\nb: 2\n", "f.yaml:2: not YAML"),
    "a table as a key": ("? [a]\n: b\n", "f.yaml:1: a key is"),
    "a long key": ("? " + "k" * 5_000 + "\n: b\n", "f.yaml:1: a key of"),
    "a control character": ("a: 1\nb: \0\n", "f.yaml:2: not YAML"),
    "an unpaired surrogate": ("a: \ud800", "f.yaml"),
    "an undefined alias": ("a: *b", "f.yaml:1: not YAML"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_document_beyond_the_bounds_is_refused_fast_with_file_and_line(name):
    text, message = ATTACKS[name]
    start = time.perf_counter()
    with pytest.raises(RecipeError, match=message):
        read_yaml(text, "f.yaml")
    assert time.perf_counter() - start < 5


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_alias_bombs_use_little_memory():
    code = (
        "import pathlib, tests.common.test_safe_yaml as t\n"
        "for text, _ in t.ATTACKS.values():\n"
        "    try: t.read_yaml(text, 'f')\n"
        "    except t.RecipeError: pass\n"
        "print(pathlib.Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 500_000  # kB


def test_merges_and_aliases_within_bounds_are_read():
    text = "x: &x {a: 1, b: 2}\ny:\n  <<: *x\n  b: 3\nz: {<<: [*x, {a: 5, c: 6}]}\nw: *x\n"
    read = read_yaml(text, "f.yaml")
    assert read.value == yaml.safe_load(text)
    assert (read.where["y.a"], read.where["y.b"]) == ("f.yaml:1", "f.yaml:4")


LETTERS = st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"])
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False)
    | st.text(LETTERS, max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(LETTERS, max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(PLAIN)
def test_plain_values_are_read_as_by_pyyaml(value):
    text = yaml.safe_dump(value, allow_unicode=True)
    assert read_value(text) == yaml.safe_load(text) == value


def test_a_file_just_within_the_bounds_is_read():
    text = "a:\n" + "".join(f"  k{number}: {number}\n" for number in range((MAX_NODES - 3) // 2))
    assert len(read_yaml(text, "f.yaml").value["a"]) == (MAX_NODES - 3) // 2


def test_the_pure_python_parser_gives_the_same_results(monkeypatch):
    monkeypatch.setattr("audio_lm.common.safe_yaml.Loader", yaml.SafeLoader)
    assert read_yaml("a: {b: [1, x]}\n", "f.yaml").value == {"a": {"b": [1, "x"]}}
    for text, message in ATTACKS.values():
        with pytest.raises(RecipeError, match=message.replace("f.yaml:2: not YAML", "f.yaml.*not YAML")):
            read_yaml(text, "f.yaml")


def test_errors_of_the_command_line_name_no_line():
    with pytest.raises(RecipeError, match=r"^command line: not YAML"):
        read_value("[1")
