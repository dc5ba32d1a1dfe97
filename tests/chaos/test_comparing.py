"""Sensitivity of the comparison of two runs: any change in one of them is found and named."""

import json
import shutil
import sqlite3

import pytest

from tests.chaos.cluster import Cluster
from tests.chaos.comparing import assert_complete, assert_same, differences

STEPS = 16
WEIGHTS = "stages/tune/model/language_model_lora.safetensors"
# Bugs of a resume: outputs that must differ, and outputs that must not.
BUGS = {
    "optimizer": ({"weights", "losses", "values", "points"}, {"clips", "runs"}),
    "dropout": ({"weights", "losses"}, {"clips", "runs"}),
    "position": ({"clips", "losses", "weights"}, {"runs"}),
}


class Copy:
    """Output of a run, to be changed."""

    def __init__(self, cluster, folder):
        shutil.copytree(cluster.folder, folder)
        self.folder, self.out, self.nodes = folder, folder / "run", cluster.nodes
        self.recipe, self.places = folder / cluster.recipe.name, cluster.places

    def execute(self, sql):
        with sqlite3.connect(self.folder / "mlflow.db") as database:
            database.execute(sql)

    def edit(self, file, edit):
        """Change the records of a file."""
        path = self.folder / file
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(line) + "\n" for line in edit(lines)))


def flip(copy):
    path = copy.out / WEIGHTS
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def nudge(lines):
    values = next(line["values"] for line in lines if "train_loss/all" in line["values"])
    values["train_loss/all"] *= 1 + 2**-52
    return lines


def swap_clips(lines):
    lines[3]["clips"][:2] = lines[3]["clips"][1::-1]
    return lines


def nudge_loss(lines):
    losses = lines[5]["losses"][0]
    task, (total, count) = next(iter(losses.items()))
    losses[task] = [(float.fromhex(total) * (1 + 2**-52)).hex(), count]
    return lines


POINT = "rowid in (select rowid from metrics where key = 'train_loss/all' limit 1)"
CHANGES = {
    "a bit of a weight": ("weights", flip),
    "the last bit of a value": ("values", lambda copy: copy.edit("run/stages/chat/metrics.jsonl", nudge)),
    "a value written twice": (
        "values",
        lambda copy: copy.edit("run/stages/chat/metrics.jsonl", lambda lines: [*lines, *lines[-3:]]),
    ),
    "the last bit of a loss": ("losses", lambda copy: copy.edit("losses-1.jsonl", nudge_loss)),
    "two clips in reverse order": ("clips", lambda copy: copy.edit("clips-0.jsonl", swap_clips)),
    "a missing step": ("clips", lambda copy: copy.edit("clips-1.jsonl", lambda lines: lines[1:])),
    "a missing point in MLflow": ("points", lambda copy: copy.execute(f"delete from metrics where {POINT}")),
    "another value in MLflow": (
        "points",
        lambda copy: copy.execute(f"update metrics set value = value + 1e-9 where {POINT}"),
    ),
    "an additional run in MLflow": (
        "runs",
        lambda copy: copy.execute(
            "insert into runs (run_uuid, name, status) select 'another', name, status from runs where name = 'chat'"
        ),
    ),
    "a run that has not ended": (
        "runs",
        lambda copy: copy.execute("update runs set status = 'RUNNING' where name = 'tune'"),
    ),
}


@pytest.mark.chaos
def test_any_change_in_a_run_is_found_and_named(undisturbed, tmp_path):
    reference = undisturbed(STEPS)
    assert_same(Copy(reference, tmp_path / "same"), reference)
    for number, (change, (name, apply)) in enumerate(CHANGES.items()):
        copy = Copy(reference, tmp_path / str(number))
        apply(copy)
        assert differences(copy, reference).keys() == {name}, change
        if name != "weights" and not change.startswith("the last bit of a loss"):
            with pytest.raises(AssertionError):
                assert_complete(copy)


@pytest.mark.chaos
@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_of_a_resume_is_found(bug, undisturbed, chaos_folder, record_property):
    differing, equal = BUGS[bug]
    plan = [{"kind": "rank", "moment": "step", "stage": "tune", "step": 7, "rank": 1}]
    with Cluster(chaos_folder / bug, chaos_folder / "data", steps=STEPS, plan=plan) as cluster:
        cluster.environment["CHAOS_BUG"] = bug
        cluster.start()
        assert cluster.wait() == [0, 0], cluster.log()
    assert len(cluster.injected()) == 1
    found = differences(cluster, undisturbed(STEPS))
    record_property("differs in", sorted(found))
    assert found.keys() >= differing
    assert not found.keys() & equal
    with pytest.raises(AssertionError, match="other weights"):
        assert_same(cluster, undisturbed(STEPS))
