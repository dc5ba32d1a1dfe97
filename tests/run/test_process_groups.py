"""A recipe on two ranks, as torchrun starts them."""

import json
import os
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from audio_lm.common.errors import AlreadyReportedError, DataError, UserError
from audio_lm.run.process_groups import ProcessGroups
from tests.forked import on_ranks

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


def train_run(folder, name, num_ranks, *overrides, text=RECIPE):
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


def files_of(run):
    """Files of a run folder without heartbeats, and its shards, which every rank writes."""
    names = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    names = {name for name in names if not name.startswith("heartbeats/")}
    shards = {name for name in names if name.endswith(".distcp")}
    return names - shards, shards


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ranks")


@pytest.mark.slow
def test_two_ranks_have_the_losses_of_one_and_only_the_first_writes_files(folder):
    alone, _ = train_run(folder, "alone", 1)
    together, output = train_run(folder, "together", 2)
    expected, found = curves(folder, "alone"), curves(folder, "together")
    assert expected.keys() == found.keys()
    assert {"train_loss/all", "train_loss/sec", "train_loss/mna", "val_loss/sec"} <= {
        key for key, _ in expected
    }
    assert max(step for _, step in expected) == 9
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, abs=1e-5), key
    files, shards = files_of(alone)
    assert files_of(together) == (files, shards | {name.replace("__0_", "__1_") for name in shards})
    assert output.count("step 10/10") == 1
    for run in (alone, together):
        assert json.loads((run / "stages" / "pretrain" / "status.json").read_text())["finished"]


TOGETHER = """
import os, sys, time
import torch
from torch.distributed.device_mesh import init_device_mesh
from audio_lm.run.process_groups import ProcessGroups
os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": sys.argv[1], "WORLD_SIZE": "2"}
os.environ["RANK"] = "1" if os.fork() == 0 else "0"
rank = int(os.environ["RANK"])
def show(line):
    os.write(1, f"{line}\\n".encode())  # one write: both ranks share the pipe
with ProcessGroups("cpu", 60) as ranks:
    values = [ranks.agree_on_max(7 * rank)]
    checks = []
    time.sleep(rank)
    values.append(ranks.wait(3 * (1 - rank), lambda: checks.append(1)))
    began = time.perf_counter()
    for _ in range(300):
        ranks.agree_on_max(0)
    took = (time.perf_counter() - began) / 300
    mesh = init_device_mesh("cpu", (1, 2), mesh_dim_names=("replicate", "shard"))
    ranks.include(mesh)
    ranks.set_timeout(2)
    for group in mesh.get_all_groups():
        values.append(group._get_backend(torch.device("cpu")).options._timeout.seconds)
    ranks.wait()
    show(f"{rank} {values} {len(checks) > 5} {1e3 * took:.2f} ms")
    if rank == 1:
        time.sleep(6)
        os._exit(0)
    began = time.monotonic()
    try:
        ranks.agree_on_max(0)
    except RuntimeError:
        show(f"timed out after {time.monotonic() - began:.0f} s")
    os._exit(0)
"""


@pytest.mark.slow
def test_ranks_agree_wait_and_time_out(record_property):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", TOGETHER, str(port)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    first, second, last = sorted(done.stdout.splitlines())
    assert first.startswith("0 [7, 3, 2, 2] True"), done.stdout + done.stderr
    assert second.startswith("1 [7, 3, 2, 2]"), done.stdout
    record_property("agreeing", first.partition("True ")[2])
    assert last in ("timed out after 2 s", "timed out after 3 s")


def _raise_on_the_first(number):
    with ProcessGroups("cpu") as ranks:
        with pytest.raises(UserError) as error, ranks.main_first():
            raise DataError("no such cut-set")
        return type(error.value)


def test_an_error_of_the_first_rank_ends_the_others_without_a_message():
    assert on_ranks(2, _raise_on_the_first) == [DataError, AlreadyReportedError]


def test_a_single_process_does_not_wait():
    with ProcessGroups("cpu") as ranks:
        assert (ranks.agree_on_max(5), ranks.wait(4), ranks.wait()) == (5, 4, 0)
        ranks.include(None)
        ranks.set_timeout(1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_refused_in_one_sentence():
    with (
        pytest.raises(UserError, match=r"torch .* finds no CUDA device .* use.hardware=cpu"),
        ProcessGroups("gpu"),
    ):
        pass
