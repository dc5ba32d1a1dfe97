"""Comparison of the outputs of two runs, bit for bit, and of one run with its recipe."""

import sqlite3
from itertools import islice

from audio_lm.config.load import load_recipe
from audio_lm.data.mixture.schedule import Cursor
from audio_lm.pipeline.plan_stage import compile_stage, plan_stage
from audio_lm.pipeline.vocabulary import build_vocabulary
from tests.chaos.cluster import lines_of

LOG_EVERY = 10  # steps


def assert_same(one, other):
    """Assert that the first run is complete, and that both runs left the same output."""
    found = differences(one, other)
    assert not found, f"other {', '.join(found)}: {found}"
    assert_complete(one)


def differences(one, other):
    """Differences between two runs: name of the output -> differing entries."""
    found = {
        "weights": _differing(weights_of(one.out), weights_of(other.out), show=len),
        "values": _differing(values_of(one.out), values_of(other.out)),
        "losses": _differing(losses_of(one.folder), losses_of(other.folder)),
        "clips": _differing(clips_of(one.folder), clips_of(other.folder)),
        "runs": _differing(dict(enumerate(runs_of(one.folder))), dict(enumerate(runs_of(other.folder)))),
        "points": _differing(points_of(one.folder), points_of(other.folder)),
    }
    return {name: entries for name, entries in found.items() if entries}


def _differing(ours, theirs, show=lambda value: value):
    return {
        key: tuple(show(value) if value is not None else None for value in (ours.get(key), theirs.get(key)))
        for key in ours.keys() | theirs.keys()
        if ours.get(key) != theirs.get(key)
    }


def assert_complete(cluster):
    """Assert by the recipe: every clip of the schedule once, every value once, one MLflow run for each stage."""
    order = order_of(cluster)
    assert {key: [[clips]] for key, clips in order.items()} == {
        key: [clips] for key, clips in clips_of(cluster.folder).items()
    }, "a step of the schedule is missing, or was repeated with other clips"
    assert losses_of(cluster.folder).keys() == order.keys()
    stages = {name: 1 + max(step for stage, step, _ in order if stage == name) for name, _, _ in order}
    assert runs_of(cluster.folder) == sorted((name, "FINISHED") for name in (cluster.recipe.stem, *stages))
    written = values_of(cluster.out)
    assert all(len(values) == 1 for values in written.values()), "a value was written twice"
    for stage, steps in stages.items():
        due = list(range(LOG_EVERY - 1, steps, LOG_EVERY))
        assert sorted(step for *key, step in written if key == [stage, "train_loss/all"]) == due
    assert points_of(cluster.folder) == written, (
        "the points in MLflow differ from the journal, or one was sent twice"
    )


def order_of(cluster):
    """Clips of every (stage, step, rank) by the plan alone, without a run."""
    recipe = load_recipe(str(cluster.recipe), cluster.places).recipe
    sources = {name: compile_stage(recipe, stage) for name, stage in recipe.stages.items()}
    vocabulary = build_vocabulary(recipe, sources)
    order = {}
    for name, stage in recipe.stages.items():
        planned = plan_stage(recipe, stage, sources[name], vocabulary)
        share, positions = stage.packs_per_step // cluster.nodes, []
        for step, (_, packs) in enumerate(islice(planned.plan.steps(Cursor()), stage.steps)):
            positions += [example.position for pack in packs for example in pack]
            for rank in range(cluster.nodes):
                order[name, step, rank] = [
                    planned.loaded[example.source].rows.cut(example.row).id
                    for pack in packs[rank * share : (rank + 1) * share]
                    for example in pack
                ]
        assert len(positions) == len(set(positions)), "a position of the order is scheduled twice"
    return order


def weights_of(out):
    """Bytes of every weight file of the stages."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("stages/*/model/*.safetensors"))
    }


def values_of(out):
    """Losses and learning rates in the journal: (stage, name, step) -> values in the order of writing, in hexadecimal."""
    values = {}
    for path in sorted(out.glob("stages/*/metrics.jsonl")):
        for record in lines_of(path):
            for name, value in record["values"].items():
                if is_compared(name):
                    values.setdefault((path.parent.name, name, record["step"]), []).append(value.hex())
    return values


def points_of(folder):
    """The same values in the MLflow database."""
    database = sqlite3.connect(folder / "mlflow.db")
    rows = database.execute(
        "select runs.name, key, step, value from metrics join runs on runs.run_uuid = metrics.run_uuid"
    )
    values = {}
    for run, name, step, value in rows:
        if is_compared(name):
            values.setdefault((run, name, step), []).append(value.hex())
    return values


def is_compared(name):
    return name.startswith(("train_loss/", "val_loss/")) or name == "lr"


def runs_of(folder):
    """Name and status of every run in the MLflow database."""
    return sorted(sqlite3.connect(folder / "mlflow.db").execute("select name, status from runs"))


def losses_of(folder):
    """Losses of every (stage, step, rank) by task; one entry for each distinct value of repeated steps."""
    return _distinct(folder, "losses-*.jsonl", "losses")


def clips_of(folder):
    """Clips of every (stage, step, rank); one entry for each distinct list of repeated steps."""
    return _distinct(folder, "clips-*.jsonl", "clips")


def _distinct(folder, files, name):
    entries = {}
    for path in sorted(folder.glob(files)):
        for line in lines_of(path):
            distinct = entries.setdefault((line["stage"], line["step"], line["rank"]), [])
            if line[name] not in distinct:
                distinct.append(line[name])
    return entries
