"""Randomly mutated recipes: the command succeeds, or exits with 2 and an error message without a traceback.

2 000 mutations with the marker ``slow``, 30 without.
"""

import copy
import functools
import importlib
import math
import os
import resource
import time
from collections import Counter

import pytest
import typer.main
import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.forked import in_parallel
from tests.run.command import run

STAGE = {
    "prompt": "tags",
    "mixture": {
        "sources": {"asr": ["mine/all-train", "mine/more-train"], "sec": ["mine/sounds-train"]},
        "weights": {"asr": 2, "sec": 1},
        "weight_by": "seconds",
        "groups": {"speech": ["asr"], "sound": ["sec"]},
        "group_weights": {"speech": 2, "sound": 1},
        "temperature": {"tasks": 2},
        "schedule": {"sec": [[0, 3], [10, 1]]},
        "max_epochs": {"all": 4},
        "facts": {
            source: {"hours": 2, "clips": 900}
            for source in ("mine/all-train", "mine/more-train", "mine/sounds-train")
        },
    },
    "parts": {
        "encoder": {"lr": 1e-3, "layer_decay": 0.9},
        "projector": {"lr": 1e-3},
        "new_tokens": {"lr": 1e-3},
        "language_model": {"lr": None},
    },
    "schedule": {"kind": "cosine", "min_lr": 1e-5, "warmup_steps": 2},
    "optimizer": {"kind": "muon", "matrix_factor": 3.0, "betas": [0.9, 0.98]},
    "spec_augment": {"time_warp": 0, "time_share": 0.5},
    "checkpoints": {"keep_last": 2, "every_minutes": 5},
    "steps": 10,
    "pack_tokens": 1024,
    "packs_per_step": 2,
    "long_audio": "drop",
    "max_bad_fraction": 0.01,
}
VALID = (
    {
        "use": {"model": "tiny", "hardware": "cpu"},
        "seed": 1,
        "data_dir": "data",
        "stages": {"first": STAGE},
        "evaluation": {
            "benchmarks": {
                "b": {
                    "source": "mine/all-test",
                    "task": "asr",
                    "metrics": ["wer"],
                    "prompt": "tags",
                    "stage": "first",
                    "max_clips": 3,
                }
            }
        },
        "published": {"b": {"wer": 0.5}},
        "tracking": {"experiment": "tries", "num_listening_clips": 2},
        "fault_tolerance": {"frozen_seconds": 60},
        "audio_roots": ["/data", "${oc.env:HOME}"],
    },
    {
        "use": {"model": "demo", "hardware": "cpu", "scale": "tiny"},
        "corpora": {"synthetic": {"seed": 0, "clips": {"digits": 10, "notes": 10}}},
        "model": {
            "encoder": {"width": 64, "dropout": 0.1},
            "language_model": {"settings": {"hidden_size": 64}},
            "lora": {"encoder": {"rank": 4}},
        },
        "hardware": {"devices": 2, "num_workers": 1, "precision": "auto"},
        "stages": {
            "pretrain": {**STAGE, "mixture": "demo_audio", "validation": "demo_audio_validation"},
        },
        "resume": "auto",
        "stand_ins": {"sources": {"asr": "synthetic/digits-train"}},
    },
)
NAMES = (
    "",
    ".",
    "..",
    "../x",
    "a/../b",
    "/x",
    "a.b",
    "*",
    "_replace_",
    "<<",
    "\u00e9",
    "x" * 400,
    "stages",
    "0",
    "a b",
    "\n",
    "${x}",
    "null",
)
VALUES = st.one_of(
    st.sampled_from([
        None, True, False, "", "auto", math.nan, math.inf, -math.inf, -1, 0, 1, 10**9, 10**30, -(10**400), 1e308, 0.5, [], {},
        [[]], [{}], [None], {"": None}, "nan", "-1", "1e400", "${oc.env:HOME}", "${data_dir}", "???", "../../x", "/etc/passwd",
        "a\0b", "x" * 5_000, "\U0001f600", "tags", "demo_audio", {"a": {"b": {"c": [1]}}}, [1, "a", None],
    ]),
    st.integers(-5, 5), st.floats(), st.text(max_size=8),
    st.dictionaries(st.sampled_from(NAMES), st.integers(-2, 2), max_size=2),
)  # fmt: skip
KEYS = st.one_of(st.sampled_from(NAMES), st.text(max_size=6))


def tables(tree):
    """Tables and lists of a tree."""
    if isinstance(tree, dict | list):
        yield tree
        for inner in tree.values() if isinstance(tree, dict) else tree:
            yield from tables(inner)


def mutate(data, tree):
    """Change one entry of a tree."""
    table = data.draw(st.sampled_from([table for table in tables(tree) if table] or [tree]))
    if not table:
        return
    key = data.draw(st.sampled_from(list(table) if isinstance(table, dict) else range(len(table))))
    change = data.draw(st.sampled_from(["replace", "replace", "remove", "rename", "add", "exchange"]))
    if change == "replace":
        table[key] = value(data)
    elif change == "remove":
        del table[key]
    elif change == "exchange":
        other = data.draw(st.sampled_from(list(tables(tree))))
        table[key] = copy.deepcopy(other)
    elif isinstance(table, dict):
        table[data.draw(KEYS)] = table.pop(key) if change == "rename" else value(data)
    else:
        table.append(value(data))


def value(data):
    """Value of its own: a later mutation of the same tree must not change what other examples draw."""
    return copy.deepcopy(data.draw(VALUES))


def damage(data, text):
    """Change some characters of a text."""
    for _ in range(data.draw(st.integers(0, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = start + data.draw(st.integers(0, 12))
        text = (
            text[:start]
            + data.draw(st.text("{}[]:,*&!|>'\"-#%@` \t\n<>=?a1.~\0\u2028\ufeff", max_size=6))
            + text[end:]
        )
    return text


def recipe(data):
    tree = copy.deepcopy(data.draw(st.sampled_from(VALID)))
    for _ in range(data.draw(st.integers(0, 2))):
        mutate(data, tree)
    text = yaml.dump(tree, Dumper=Writer, sort_keys=False, allow_unicode=False)
    return damage(data, text) if data.draw(st.integers(0, 3)) == 0 else text


class Writer(yaml.CSafeDumper):
    """YAML without aliases, as people write it."""

    def ignore_aliases(self, data):
        return True


def exit_code_of(data, folder, capsys, command):
    path = folder / "r.yaml"
    path.write_bytes(recipe(data).encode("utf-8", "surrogatepass"))
    overrides = (
        data.draw(st.lists(st.sampled_from(OVERRIDES), max_size=2))
        if data.draw(st.integers(0, 2)) == 0
        else []
    )
    start = time.process_time()  # not of the clock, as a busy machine is slow
    code = run(*command, path, *overrides)
    seconds, output = time.process_time() - start, capsys.readouterr()
    assert seconds < 10, f"{seconds:.0f} s"
    assert code in (0, 2), output
    assert "Traceback" not in output.err
    assert (code == 0) != bool(output.err.strip()), output
    return code


OVERRIDES = (
    "seed=-5", "seed=nan", "seed=" + "9" * 5_000, "stages=[chat]", "only=[../x]", "~stages.chat", "+stages.x={}", "stages=5",
    "=5", "stages..x=1", "+a.b.c=[", "use.scale=tiny", "use.model=../x", "tracking={}", "data_dir=", "~", "published.a.b=.inf",
    "stages.first=", "+stages.first.parts.x={lr: 1}", "resume=[1]", "model.encoder=null", "use={}", "evaluation=null",
    "stages.chat.mixture=demo_chat",
)  # fmt: skip
QUIET = [
    HealthCheck.too_slow,
    HealthCheck.function_scoped_fixture,
    HealthCheck.data_too_large,
    HealthCheck.large_base_example,
]


@pytest.mark.parametrize("tree", VALID)
def test_the_recipes_that_are_mutated_are_valid(tree, folder):
    (folder / "r.yaml").write_text(yaml.dump(tree, Dumper=Writer))
    assert run("describe", "--examples", "0", folder / "r.yaml") == 0


def fuzz(count, command, folder, capsys, random_seed=11):
    """Exit code -> number of mutated recipes."""
    codes = []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    @seed(random_seed)
    @settings(
        max_examples=count, deadline=None, suppress_health_check=QUIET, phases=[Phase.generate], database=None
    )
    @given(st.data())
    def check(data):
        codes.append(exit_code_of(data, folder, capsys, command))

    check()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000, "kB"
    return Counter(codes)


def fuzz_on_two_cores(count, command, folder, capsys):
    """Half of the mutations in each of two processes."""

    def work(number):
        own = folder / str(number)
        own.mkdir()
        os.chdir(own)
        return fuzz(count // 2, command, own, capsys, random_seed=11 + number)

    return sum(in_parallel(2, work, timeout=3600), Counter())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    importlib.import_module("audio_lm.preview.describe")  # slow on its first import
    # The commands are the same every time, and to make all of them again takes a fifth of the time of a mutation.
    monkeypatch.setattr("typer.main.get_command", functools.cache(typer.main.get_command))
    return tmp_path


def test_describe_accepts_a_mutated_recipe_or_reports_an_error(folder, capsys):
    codes = fuzz(30, ("describe", "--examples", "0"), folder, capsys)
    assert min(codes[0], codes[2]) > 3, "both outcomes occur"


@pytest.mark.slow
def test_describe_does_so_for_two_thousand_recipes(folder, capsys):
    codes = fuzz_on_two_cores(2_000, ("describe", "--examples", "0"), folder, capsys)
    assert min(codes[0], codes[2]) > 200, "both outcomes occur"


@pytest.mark.slow
def test_plan_accepts_a_mutated_recipe_or_reports_an_error(folder, capsys):
    fuzz_on_two_cores(150, ("plan",), folder, capsys)
