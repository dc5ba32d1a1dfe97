"""What two runs left, bit for bit, and what one run should have left by its recipe alone."""

import sqlite3
from itertools import islice

from audio_lm.config.load import load_recipe
from audio_lm.data.mixture.schedule import Cursor
from audio_lm.pipeline.plan_stage import compile_stage, plan_stage
from audio_lm.pipeline.vocabulary import build_vocabulary
from tests.chaos.cluster import lines_of

STEPS_OF_A_VALUE = 10


def assert_same(one, other):
    """The first run is whole, and nothing tells what it left from what the other left."""
    found = differences(one, other)
    assert not found, f"other {', '.join(found)}: {found}"
    assert_whole(one)


def differences(one, other):
    """What is not the same in two runs, by name; each with what tells them apart."""
    found = {
        "weights": _differing(weights_of(one.out), weights_of(other.out), show=len),
        "values": _differing(values_of(one.out), values_of(other.out)),
        "losses": _differing(losses_of(one.folder), losses_of(other.folder)),
        "clips": _differing(clips_of(one.folder), clips_of(other.folder)),
        "runs": _differing(dict(enumerate(runs_of(one.folder))), dict(enumerate(runs_of(other.folder)))),
        "points": _differing(points_of(one.folder), points_of(other.folder)),
    }
    return {name: what for name, what in found.items() if what}


def _differing(ours, theirs, show=lambda value: value):
    return {
        key: tuple(show(value) if value is not None else None for value in (ours.get(key), theirs.get(key)))
        for key in ours.keys() | theirs.keys()
        if ours.get(key) != theirs.get(key)
    }


def assert_whole(cluster):
    """By the recipe alone: every clip of the order once, every value once, one run for each stage."""
    order = order_of(cluster)
    assert {key: [[clips]] for key, clips in order.items()} == {
        key: [clips] for key, clips in clips_of(cluster.folder).items()
    }, "a step of the order was left out, or heard with other clips when it was heard again"
    assert losses_of(cluster.folder).keys() == order.keys()
    stages = {stage: 1 + max(step for of, step, _ in order if of == stage) for stage, _, _ in order}
    assert runs_of(cluster.folder) == sorted((name, "FINISHED") for name in (cluster.out.name, *stages))
    written = values_of(cluster.out)
    assert all(len(values) == 1 for values in written.values()), "a value was written twice"
    for stage, steps in stages.items():
        due = list(range(STEPS_OF_A_VALUE - 1, steps, STEPS_OF_A_VALUE))
        assert sorted(step for of, name, step in written if (of, name) == (stage, "train_loss/all")) == due
    assert points_of(cluster.folder) == written, "the store has other points than the journal, or one twice"


def order_of(cluster):
    """Clips of every (stage, step, rank), as the plan has them; no run is asked."""
    recipe = load_recipe(str(cluster.recipe), cluster.places).recipe
    sources = {name: compile_stage(recipe, stage) for name, stage in recipe.stages.items()}
    vocabulary = build_vocabulary(recipe, sources)
    order = {}
    for name, stage in recipe.stages.items():
        planned = plan_stage(recipe, stage, sources[name], vocabulary)
        share, positions = stage.packs_per_step // cluster.nodes, []
        for step, (_, packs) in enumerate(islice(planned.plan.steps(Cursor()), stage.steps)):
            positions += [turn.position for pack in packs for turn in pack]
            for rank in range(cluster.nodes):
                order[name, step, rank] = [
                    planned.loaded[turn.source].rows.cut(turn.row).id
                    for pack in packs[rank * share : (rank + 1) * share]
                    for turn in pack
                ]
        assert len(positions) == len(set(positions)), "a position of the order is dealt twice"
    return order


def weights_of(out):
    """Bytes of every weight file that the stages have left."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("stages/*/model/*.safetensors"))
    }


def values_of(out):
    """Every value of a loss in the journal: (stage, name, step) -> values in the order of writing, to the last bit."""
    values = {}
    for path in sorted(out.glob("stages/*/metrics.jsonl")):
        for record in lines_of(path):
            for name, value in record["values"].items():
                if is_compared(name):
                    values.setdefault((path.parent.name, name, record["step"]), []).append(value.hex())
    return values


def points_of(folder):
    """The same, of the tracking store."""
    store = sqlite3.connect(folder / "mlflow.db")
    rows = store.execute(
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
    """Name and end of every run in the tracking store."""
    return sorted(sqlite3.connect(folder / "mlflow.db").execute("select name, status from runs"))


def losses_of(folder):
    """Loss of every (stage, step, rank) as summed there, task by task, one entry for each way it ever came out."""
    return _told(folder, "learnt-*.jsonl", "losses")


def clips_of(folder):
    """Clips of every (stage, step, rank), one entry for each way they ever came."""
    return _told(folder, "heard-*.jsonl", "clips")


def _told(folder, files, name):
    told = {}
    for path in sorted(folder.glob(files)):
        for line in lines_of(path):
            ways = told.setdefault((line["stage"], line["step"], line["rank"]), [])
            if line[name] not in ways:
                ways.append(line[name])
    return told
