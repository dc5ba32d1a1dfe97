"""A recipe on two ranks, as torchrun starts them."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECIPE = """
use: {{model: tiny, hardware: cpu}}
data_dir: {folder}/data
tracking: {{uri: "sqlite:///{folder}/{name}.db", num_listening_clips: 1}}
corpora:
  synthetic: {{clips: {{events: 12, notes: 12}}, validation_clips: 3, test_clips: 2}}
stages:
  pretrain:
    prompt: tags
    mixture:
      sources: {{sec: [synthetic/events-train], mna: [synthetic/notes-train]}}
      weights: {{sec: 1, mna: 1}}
    validation: {{sources: {{sec: [synthetic/events-validation]}}, weights: {{sec: 1}}}}
    validate_every: 2
    parts:
      encoder: {{lr: 1e-4, from_step: 2}}
      projector: {{lr: 1e-4}}
      new_tokens: {{lr: 1e-4}}
      language_model: {{lr: 1e-4}}
    steps: 10
    pack_tokens: 300
    packs_per_step: 2
evaluation:
  benchmarks:
    events: {{source: synthetic/events-test, task: sec, metrics: [acc], prompt: tags, stage: pretrain, max_new_tokens: 2}}
"""


def trained(folder, name, num_ranks, *overrides, text=RECIPE):
    recipe = folder / f"{name}.yaml"
    recipe.write_text(text.format(folder=folder, name=name))
    start = [sys.executable]
    if num_ranks > 1:
        start += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={num_ranks}"]
    out = folder / "runs" / name
    command = [
        *start,
        str(ROOT / "train.py"),
        str(recipe),
        f"hardware.devices={num_ranks}",
        "--out",
        str(out),
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, *overrides], env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-6000:]
    return out, done.stdout


def curves(folder, name):
    store = sqlite3.connect(folder / f"{name}.db")
    rows = store.execute("select key, step, value from metrics where key like '%\\_loss/%' escape '\\'")
    return {(key, step): value for key, step, value in rows}


def written(run):
    """What lies in a run's folder: files, and the shards of checkpoints, which every rank writes."""
    names = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    shards = {name for name in names if name.endswith(".distcp")}
    return names - shards, shards


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ranks")


@pytest.mark.slow
def test_two_ranks_learn_what_one_learns_and_the_first_writes_alone(folder):
    alone, _ = trained(folder, "alone", 1)
    together, said = trained(folder, "together", 2)
    one, two = curves(folder, "alone"), curves(folder, "together")
    assert one.keys() == two.keys()
    assert {"train_loss/all", "train_loss/sec", "train_loss/mna", "val_loss/sec"} <= {key for key, _ in one}
    assert max(step for _, step in one) == 9
    for key, value in one.items():
        assert two[key] == pytest.approx(value, abs=1e-5), key
    files, shards = written(alone)
    assert written(together) == (files, shards | {name.replace("__0_", "__1_") for name in shards})
    assert said.count("step 10/10") == 1
    for run in (alone, together):
        assert json.loads((run / "stages" / "pretrain" / "status.json").read_text())["finished"]
