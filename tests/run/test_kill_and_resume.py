"""A run that is killed and resumed: the same packs and losses on any number of ranks, or a refusal."""

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
from tests.run.observed_run import (
    STEPS,
    assert_equal_weights,
    checkpoints,
    read_observed,
    run_training,
    weights,
    write_recipe,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def recipe_path(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kill_and_resume")
    return write_recipe(folder / "killed.yaml", small)


def assert_close(losses, reference):
    """Equal up to the order of sums; the largest relative difference is printed."""
    assert losses.keys() == reference.keys()
    difference = max(abs(losses[step] - loss) / abs(loss) for step, loss in reference.items())
    print(f"relative difference of losses {difference:.1e}")
    assert difference <= 1e-6


@pytest.fixture(scope="module")
def whole(recipe_path, tmp_path_factory):
    """Number of ranks -> cuts, losses and folder of an uninterrupted run."""
    runs = {}
    for ranks in (1, 2):
        out = tmp_path_factory.mktemp("whole") / str(ranks)
        cuts, losses, _ = run_training(recipe_path, out, ranks)
        runs[ranks] = (cuts, losses, out)
    assert runs[1][0] == runs[2][0]
    return runs


def assert_resumes_bit_equal(path, out, whole, ranks, *overrides):
    run_training(path, out, ranks, *overrides, kill=5)
    cuts, losses = read_observed(out, ranks)
    step = newest_valid(out / "stages/pretrain/checkpoints").step
    assert step in (3, 4, 5)
    more_cuts, more_losses, output = run_training(path, out, ranks, *overrides, "resume=auto")
    assert (
        f"continues from step {step}, exact: the same packs follow, and bit for bit the same losses" in output
    )
    assert min(more_losses) == step + 1
    assert (cuts | more_cuts, losses | more_losses) == whole[:2]
    assert_equal_weights(weights(out), weights(whole[2]))


def test_two_killed_ranks_resume_bit_equal(whole, recipe_path, tmp_path):
    override = "stages.pretrain.checkpoints.asynchronous=true"
    assert_resumes_bit_equal(recipe_path, tmp_path / "run", whole[2], 2, override)


def test_one_rank_in_bf16_with_a_data_worker_resumes_bit_equal(whole, recipe_path, tmp_path):
    overrides = ["hardware.precision=bf16", "hardware.num_workers=1"]
    cuts, losses, _ = run_training(recipe_path, tmp_path / "whole", 1, *overrides)
    assert cuts == whole[1][0]
    assert losses != whole[1][1]
    assert_resumes_bit_equal(recipe_path, tmp_path / "run", (cuts, losses, tmp_path / "whole"), 1, *overrides)


def test_two_one_four_and_two_ranks_train_on_the_same_packs_with_close_losses(whole, recipe_path, tmp_path):
    """Stops at odd and even steps, gradient accumulation (4 packs), a part that is unfrozen, and two optimizers."""
    out, cuts, losses, outputs = tmp_path / "run", {}, {}, []
    for attempt, (ranks, kill) in enumerate([(2, 3), (1, 6), (4, 9), (2, None)]):
        more = ["resume=auto"] if attempt else []
        done = run_training(recipe_path, out, ranks, *more, kill=kill)
        more_cuts, more_losses = read_observed(out, ranks) if done is None else done[:2]
        assert min(more_losses) == max(losses, default=0) + 1
        cuts, losses = cuts | more_cuts, losses | more_losses
        outputs += [] if done is None else [done[2]]
    assert cuts == whole[1][0]
    for _, reference, _ in whole.values():
        assert_close(losses, reference)
    assert losses != whole[1][1]  # equal bits would mean that nothing was summed in another order
    assert (
        "continues from step 9, same batches: the same packs follow; losses equal to about 1e-6" in outputs[0]
    )
    assert "because ranks was 4 and is 2" in outputs[0]
    saved_by = {
        checkpoint.step: checkpoint.manifest.world_size for checkpoint in valid_checkpoints(checkpoints(out))
    }
    assert saved_by[STEPS] == 2


def test_a_sharded_model_resumes_bit_equal_and_in_any_other_layout(whole, recipe_path, tmp_path):
    """Sharded over two ranks, one rank, sharded over four, replicated on two."""
    sharded = "hardware.sharding=fsdp"
    cuts, losses, _ = run_training(recipe_path, tmp_path / "whole", 2, sharded)
    assert_resumes_bit_equal(recipe_path, tmp_path / "run", (cuts, losses, tmp_path / "whole"), 2, sharded)
    out, cuts, losses = tmp_path / "chain", {}, {}
    for ranks, kill, overrides in [(2, 3, [sharded]), (1, 6, []), (4, 8, [sharded]), (2, None, [])]:
        more = ["resume=auto"] if losses else []
        done = run_training(recipe_path, out, ranks, *more, *overrides, kill=kill)
        more_cuts, more_losses = read_observed(out, ranks) if done is None else done[:2]
        assert min(more_losses) == max(losses, default=0) + 1
        cuts, losses = cuts | more_cuts, losses | more_losses
    assert cuts == whole[1][0]
    assert_close(losses, whole[1][1])


@pytest.fixture(scope="module")
def killed(recipe_path, tmp_path_factory):
    """Folder of a run that was killed before step 5, with two checkpoints."""
    out = tmp_path_factory.mktemp("killed") / "run"
    run_training(recipe_path, out, 1, kill=4)
    return out


@pytest.fixture
def out(killed, tmp_path):
    """Copy of it to damage."""
    shutil.copytree(killed, tmp_path / "run")
    return tmp_path / "run"


def resume(path, out, *overrides):
    console = Console(record=True, width=400, file=open(os.devnull, "w"))  # noqa: SIM115
    train(load_recipe(path, ["resume=auto", *overrides]), out=out, console=console)
    return console.export_text()


def test_an_invalid_newest_checkpoint_is_skipped_and_its_step_is_saved_again(recipe_path, out, whole_weights):
    shard = next((checkpoints(out) / checkpoint_name(4)).glob("*.distcp"))
    values = bytearray(shard.read_bytes())
    values[len(values) // 2] ^= 1
    shard.write_bytes(values)
    output = resume(recipe_path, out)
    assert f"{checkpoint_name(4)} is skipped, {shard.name} has another checksum than was written" in output
    assert "continues from step 3, exact" in output
    assert (checkpoints(out) / f"{checkpoint_name(4)}.broken-1").is_dir()
    assert_equal_weights(weights(out), whole_weights)


@pytest.fixture(scope="module")
def whole_weights(recipe_path, tmp_path_factory):
    out = tmp_path_factory.mktemp("alone") / "run"
    train(load_recipe(recipe_path), out=out, console=Console(quiet=True))
    return weights(out)


def test_a_resume_with_changed_keys_is_refused_and_names_them(recipe_path, out):
    changed = "stages.pretrain.parts.projector.lr=1e-4"
    with pytest.raises(
        RecipeError, match=r"^refused because .*stages\.pretrain\.parts\.projector\.lr changed"
    ):
        resume(recipe_path, out, changed)
    (out / "recipe.yaml").unlink()  # only the checkpoint still has the settings
    with pytest.raises(
        CheckpointError, match=r"^refused because .*another recipe: stages.*projector\.lr changed"
    ):
        resume(recipe_path, out, changed)


def test_a_resume_with_other_rows_is_refused_and_names_the_source(recipe_path, out, tmp_path):
    elsewhere = f"data_dir={tmp_path / 'data'}"
    prepare_corpora(load_recipe(recipe_path, [elsewhere]).recipe, lambda line: None)
    same = shutil.copytree(out, tmp_path / "same")
    assert "same order" in resume(recipe_path, same, elsewhere), "equal rows in another folder"
    manifest = tmp_path / "data" / "synthetic" / "events-train.jsonl"
    manifest.write_text("".join(manifest.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(DataError, match=r"^refused because .*source sec synthetic/events-train"):
        resume(recipe_path, out, elsewhere)


def test_a_checkpoint_of_another_stage_is_refused(recipe_path, out):
    text = recipe_path.read_text()
    other = recipe_path.with_name("other.yaml")
    other.write_text(text.replace("  pretrain:", "  chat:"))
    (out / "recipe.yaml").unlink()
    (out / "stages" / "pretrain").rename(out / "stages" / "chat")
    with pytest.raises(CheckpointError, match=r"^refused because .* is of stage 'pretrain' and not 'chat'"):
        resume(other, out)


def test_a_resume_without_a_valid_checkpoint_is_refused_and_without_any_it_starts(recipe_path, out):
    for checkpoint in valid_checkpoints(checkpoints(out)):
        (checkpoint.path / "MANIFEST.json").unlink()
    with pytest.raises(CheckpointError, match=r"^refused because no checkpoint in .* is valid"):
        resume(recipe_path, out)
    shutil.rmtree(checkpoints(out))
    assert "continues from" not in resume(recipe_path, out, "stages.pretrain.checkpoint_every=1")
    assert newest_valid(checkpoints(out)).step == STEPS


def test_a_checkpoint_of_another_format_is_refused_with_its_version(recipe_path, out):
    shutil.rmtree(checkpoints(out))
    shutil.copytree(os.path.join(os.path.dirname(__file__), "../golden/format_0"), checkpoints(out))
    with pytest.raises(CheckpointError, match="version 0, one file"):
        resume(recipe_path, out)


def test_checkpoint_settings_may_change_and_a_changed_precision_is_reported(recipe_path, out):
    output = resume(
        recipe_path,
        out,
        "stages.pretrain.checkpoints={keep_last: 4, pin_every: 5}",
        "hardware.precision=bf16",
    )
    assert (
        "same batches: the same packs follow; losses are not the same bit for bit, because precision was 32"
        in output
    )
    assert {checkpoint.step for checkpoint in valid_checkpoints(checkpoints(out))} >= {5, 7, 8, 9, 10}


def test_a_manifest_names_stage_environment_and_digests(killed):
    facts = read_manifest(checkpoints(killed) / checkpoint_name(4)).facts
    assert facts["stage"] == "pretrain"
    assert facts["environment"]["ranks"] == "1"
    assert {"recipe", "plan", "trainable", "frozen", "mlflow_run_id", "val_loss"} <= facts.keys()
    assert facts["val_loss"] is not None
    assert read_manifest(checkpoints(killed) / checkpoint_name(3)).facts["val_loss"] is None
