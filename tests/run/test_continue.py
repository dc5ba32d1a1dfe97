"""A run that is killed and started again: the same packs, the same losses, by any number of ranks, or a refusal."""

import os
import shutil

import pytest
from rich.console import Console

from audio_lm.checkpoints.discovery import checkpoint_name, newest_valid, valid_checkpoints
from audio_lm.checkpoints.manifest import read_manifest
from audio_lm.common.errors import CheckpointError, DataError, RecipeError
from audio_lm.config.load import load_recipe
from audio_lm.pipeline.corpora import prepare_corpora
from audio_lm.run.train import train
from tests.run.carried import (
    STEPS,
    assert_equal_weights,
    carry_out,
    checkpoints,
    journalled,
    weights,
    write_recipe,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def recipe_path(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("continue")
    return write_recipe(folder / "continued.yaml", small)


def assert_alike(losses, reference):
    """As near as the order of sums allows; the largest relative difference is printed."""
    assert losses.keys() == reference.keys()
    apart = max(abs(losses[step] - loss) / abs(loss) for step, loss in reference.items())
    print(f"losses {apart:.1e} apart")
    assert apart <= 1e-6


@pytest.fixture(scope="module")
def whole(recipe_path, tmp_path_factory):
    """By one process and by two, undisturbed: what was heard, the losses, the folder."""
    runs = {}
    for ranks in (1, 2):
        out = tmp_path_factory.mktemp("whole") / str(ranks)
        cuts, losses, _ = carry_out(recipe_path, out, ranks)
        runs[ranks] = (cuts, losses, out)
    assert runs[1][0] == runs[2][0]
    return runs


def assert_killed_and_gone_on(path, out, whole, ranks, *how):
    carry_out(path, out, ranks, *how, kill=5)
    cuts, losses = journalled(out, ranks)
    step = newest_valid(out / "stages/pretrain/checkpoints").step
    assert step in (3, 4, 5)
    more_cuts, more_losses, said = carry_out(path, out, ranks, *how, "resume=auto")
    assert (
        f"continues from step {step}, exact: the same packs follow, and bit for bit the same losses" in said
    )
    assert min(more_losses) == step + 1
    assert (cuts | more_cuts, losses | more_losses) == whole[:2]
    assert_equal_weights(weights(out), weights(whole[2]))


def test_two_ranks_killed_and_gone_on_are_bit_equal(whole, recipe_path, tmp_path):
    how = "stages.pretrain.checkpoints.asynchronous=true"
    assert_killed_and_gone_on(recipe_path, tmp_path / "run", whole[2], 2, how)


def test_one_rank_in_half_precision_with_a_data_worker_is_bit_equal(whole, recipe_path, tmp_path):
    how = ["hardware.precision=bf16", "hardware.num_workers=1"]
    cuts, losses, _ = carry_out(recipe_path, tmp_path / "whole", 1, *how)
    assert cuts == whole[1][0]
    assert losses != whole[1][1]
    assert_killed_and_gone_on(recipe_path, tmp_path / "run", (cuts, losses, tmp_path / "whole"), 1, *how)


def test_two_one_four_and_two_ranks_hear_the_same_packs_and_lose_the_same(whole, recipe_path, tmp_path):
    """At odd and even steps, with accumulation (4 packs), a part that thaws, and two optimizers."""
    out, cuts, losses, said = tmp_path / "run", {}, {}, []
    for attempt, (ranks, kill) in enumerate([(2, 3), (1, 6), (4, 9), (2, None)]):
        resume = ["resume=auto"] if attempt else []
        done = carry_out(recipe_path, out, ranks, *resume, kill=kill)
        more_cuts, more_losses = journalled(out, ranks) if done is None else done[:2]
        assert min(more_losses) == max(losses, default=0) + 1
        cuts, losses = cuts | more_cuts, losses | more_losses
        said += [] if done is None else [done[2]]
    assert cuts == whole[1][0]
    for of in whole.values():
        assert_alike(losses, of[1])
    assert losses != whole[1][1]  # bit for bit it cannot be, or nothing was summed in another order
    assert "continues from step 9, same batches: the same packs follow; losses equal to about 1e-6" in said[0]
    assert "because ranks was 4 and is 2" in said[0]
    saved_by = {
        one.step: one.manifest.world_size for one in valid_checkpoints(out / "stages/pretrain/checkpoints")
    }
    assert saved_by[STEPS] == 2


def test_a_model_that_is_shared_out_goes_on_bit_equal_and_in_any_other_way(whole, recipe_path, tmp_path):
    """Sharded by two, whole in one, sharded by four, the same weights on two."""
    shared = "hardware.sharding=fsdp"
    cuts, losses, _ = carry_out(recipe_path, tmp_path / "whole", 2, shared)
    assert_killed_and_gone_on(recipe_path, tmp_path / "run", (cuts, losses, tmp_path / "whole"), 2, shared)
    out, cuts, losses = tmp_path / "chain", {}, {}
    for ranks, kill, how in [(2, 3, [shared]), (1, 6, []), (4, 8, [shared]), (2, None, [])]:
        resume = ["resume=auto"] if losses else []
        done = carry_out(recipe_path, out, ranks, *resume, *how, kill=kill)
        more_cuts, more_losses = journalled(out, ranks) if done is None else done[:2]
        assert min(more_losses) == max(losses, default=0) + 1
        cuts, losses = cuts | more_cuts, losses | more_losses
    assert cuts == whole[1][0]
    assert_alike(losses, whole[1][1])


@pytest.fixture(scope="module")
def begun(recipe_path, tmp_path_factory):
    """A run that was killed before step 5, with two checkpoints."""
    out = tmp_path_factory.mktemp("begun") / "run"
    carry_out(recipe_path, out, 1, kill=4)
    return out


@pytest.fixture
def out(begun, tmp_path):
    """A copy of it to spoil."""
    shutil.copytree(begun, tmp_path / "run")
    return tmp_path / "run"


def gone_on(path, out, *overrides):
    console = Console(record=True, width=400, file=open(os.devnull, "w"))  # noqa: SIM115
    train(load_recipe(path, ["resume=auto", *overrides]), out=out, console=console)
    return console.export_text()


def test_the_newest_that_does_not_hold_is_passed_over_and_its_step_is_written_again(
    recipe_path, out, whole_weights
):
    shard = next((checkpoints(out) / checkpoint_name(4)).glob("*.distcp"))
    values = bytearray(shard.read_bytes())
    values[len(values) // 2] ^= 1
    shard.write_bytes(values)
    said = gone_on(recipe_path, out)
    assert f"{checkpoint_name(4)} is skipped, {shard.name} has another checksum than was written" in said
    assert "continues from step 3, exact" in said
    assert (checkpoints(out) / f"{checkpoint_name(4)}.broken-1").is_dir()
    assert_equal_weights(weights(out), whole_weights)


@pytest.fixture(scope="module")
def whole_weights(recipe_path, tmp_path_factory):
    out = tmp_path_factory.mktemp("alone") / "run"
    train(load_recipe(recipe_path), out=out, console=Console(quiet=True))
    return weights(out)


def test_going_on_is_refused_with_the_keys_that_changed(recipe_path, out):
    changed = "stages.pretrain.parts.projector.lr=1e-4"
    with pytest.raises(
        RecipeError, match=r"^refused because .*stages\.pretrain\.parts\.projector\.lr changed"
    ):
        gone_on(recipe_path, out, changed)
    (out / "recipe.yaml").unlink()  # nobody knows any more but the checkpoint
    with pytest.raises(
        CheckpointError, match=r"^refused because .*another recipe: stages.*projector\.lr changed"
    ):
        gone_on(recipe_path, out, changed)


def test_going_on_over_other_rows_is_refused_with_the_source(recipe_path, out, tmp_path):
    elsewhere = f"data_dir={tmp_path / 'data'}"
    prepare_corpora(load_recipe(recipe_path, [elsewhere]).recipe, lambda line: None)
    same = shutil.copytree(out, tmp_path / "same")
    assert "same order" in gone_on(recipe_path, same, elsewhere), "equal rows in another folder"
    manifest = tmp_path / "data" / "synthetic" / "events-train.jsonl"
    manifest.write_text("".join(manifest.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(DataError, match=r"^refused because .*source sec synthetic/events-train"):
        gone_on(recipe_path, out, elsewhere)


def test_going_on_from_another_stage_is_refused(recipe_path, out):
    text = recipe_path.read_text()
    other = recipe_path.with_name("other.yaml")
    other.write_text(text.replace("  pretrain:", "  chat:"))
    (out / "recipe.yaml").unlink()
    (out / "stages" / "pretrain").rename(out / "stages" / "chat")
    with pytest.raises(CheckpointError, match=r"^refused because .* is of stage 'pretrain' and not 'chat'"):
        gone_on(other, out)


def test_going_on_where_nothing_holds_is_refused_and_where_nothing_is_begins(recipe_path, out):
    for one in valid_checkpoints(checkpoints(out)):
        (one.path / "MANIFEST.json").unlink()
    with pytest.raises(CheckpointError, match=r"^refused because no checkpoint in .* is valid"):
        gone_on(recipe_path, out)
    shutil.rmtree(checkpoints(out))
    assert "going on" not in gone_on(recipe_path, out, "stages.pretrain.checkpoint_every=1")
    assert newest_valid(checkpoints(out)).step == STEPS


def test_a_stage_begun_by_an_older_release_is_refused_with_its_version(recipe_path, out):
    shutil.rmtree(checkpoints(out))
    shutil.copytree(os.path.join(os.path.dirname(__file__), "../golden/format_0"), checkpoints(out))
    with pytest.raises(CheckpointError, match="version 0, one file"):
        gone_on(recipe_path, out)


def test_how_checkpoints_are_kept_may_change_and_the_machine_is_told(recipe_path, out):
    said = gone_on(
        recipe_path,
        out,
        "stages.pretrain.checkpoints={keep_last: 4, pin_every: 5}",
        "hardware.precision=bf16",
    )
    assert (
        "same batches: the same packs follow; losses are not the same bit for bit, because precision was 32"
        in said
    )
    assert {one.step for one in valid_checkpoints(checkpoints(out))} >= {5, 7, 8, 9, 10}


def test_a_manifest_says_what_it_is_of(begun):
    facts = read_manifest(checkpoints(begun) / checkpoint_name(4)).facts
    assert facts["stage"] == "pretrain"
    assert facts["environment"]["ranks"] == "1"
    assert {"recipe", "plan", "trainable", "frozen", "mlflow_run_id", "val_loss"} <= facts.keys()
    assert facts["val_loss"] is not None
    assert read_manifest(checkpoints(begun) / checkpoint_name(3)).facts["val_loss"] is None
