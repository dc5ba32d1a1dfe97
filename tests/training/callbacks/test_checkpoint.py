"""A resumed stage has the curves and weights of an uninterrupted one, bit for bit."""

import itertools
import json

import pytest

from audio_lm.checkpoints.discovery import newest_valid, valid_checkpoints
from audio_lm.checkpoints.state import progress_of
from tests.forked import on_ranks, together
from tests.training.callbacks.stopped_stage import (
    STEPS,
    StopAfter,
    assert_same,
    checkpoint_callback,
    stop_and_resume,
)


@pytest.mark.parametrize(("stop", "every"), [(1, 1), (2, 2), (3, 3), (4, 1), (5, 5)])
def test_resuming_from_any_step_gives_the_same_weights_and_curves(fit, tmp_path, stop, every):
    uninterrupted, points, _ = fit()
    assert {name for name, _ in points} >= {"train_loss/all", "val_loss/all", "lr"}
    model, resumed, step = stop_and_resume(fit, tmp_path, StopAfter(stop), every=every)
    assert step == stop
    assert_same(model, uninterrupted)
    assert resumed == points


def test_a_validation_missed_by_a_stop_runs_after_the_resume(fit, tmp_path):
    """A stop signal can cause a checkpoint before the validation of its step."""

    class SaveAndStop(StopAfter):
        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == self.step:
                checkpoint_callback(trainer).save(trainer)
                raise RuntimeError("stopped")

    _, points, _ = fit()
    _, before, _ = fit(tmp_path / "stopped", stop=SaveAndStop(3), every=100)
    assert ("val_loss/all", 2) not in before
    found = newest_valid(tmp_path / "stopped" / "checkpoints")
    assert not progress_of(found)["is_validated"]
    _, after, _ = fit(tmp_path / "stopped", resume_from=found, every=100)
    assert before | after == points


def test_a_kill_between_step_and_validation_repeats_the_step(fit, tmp_path):
    _, points, _ = fit()
    _, resumed, step = stop_and_resume(fit, tmp_path, StopAfter(3, after_validation=False), every=1)
    assert step == 2
    assert resumed == points


def test_dropout_masks_are_the_same_after_a_restart(fit, tmp_path, monkeypatch):
    uninterrupted, points, _ = fit(dropout=0.5)
    _, without, _ = fit(tmp_path / "without")
    assert points != without
    model, resumed, _ = stop_and_resume(fit, tmp_path, StopAfter(2), dropout=0.5)
    assert_same(model, uninterrupted)
    assert resumed == points
    counter = itertools.count()  # control: a seed that depends on the process and not on the step
    monkeypatch.setattr("audio_lm.training.step.key_of", lambda *_: next(counter))
    _, points, _ = fit(tmp_path / "counted", dropout=0.5)
    _, resumed, _ = stop_and_resume(fit, tmp_path / "other", StopAfter(2), dropout=0.5)
    assert resumed != points


@pytest.mark.parametrize("not_restored", ["optimizer", "loss_sums", "step"])
def test_curves_differ_if_optimizer_loss_sums_or_step_are_not_restored(
    fit, tmp_path, monkeypatch, not_restored
):
    """Control of the tests above."""
    _, points, _ = fit()
    _, before, _ = fit(tmp_path / "stopped", stop=StopAfter(2))
    found = newest_valid(tmp_path / "stopped" / "checkpoints")
    path = "audio_lm.training.callbacks.checkpoint."
    if not_restored == "optimizer":
        monkeypatch.setattr(path + "state._load_optimizer", lambda *_: None)
    if not_restored == "loss_sums":
        without = lambda found: progress_of(found) | {"loss_sums": [{}]}  # noqa: E731
        monkeypatch.setattr(path + "state.progress_of", without)
    if not_restored == "step":
        monkeypatch.setattr("audio_lm.common.compat.set_step", lambda trainer, step: None)
    with pytest.MonkeyPatch.context() as patch:
        if not_restored == "step":  # the fit would run out of batches
            patch.setattr("tests.training.callbacks.stopped_stage.STEPS", 4)
        _, after, _ = fit(tmp_path / "stopped", resume_from=found, every=100)
    assert before | after != points


@pytest.mark.parametrize("num_ranks", [1, 2])
def test_loss_sums_of_tensor_parallel_ranks_are_restored_once_on_any_number_of_ranks(
    fit, packs, tmp_path, num_ranks
):
    folder, settings = tmp_path / "stopped", {"asynchronous": False, "every": 1}

    def learned_tokens(count, **more):
        ranks = {"num_ranks": count, "tensor_parallel": count}
        work = lambda number: bool(fit(folder, **settings, **ranks, **more))  # noqa: E731
        assert on_ranks(count, together(work)) == [True] * count
        (sums,) = progress_of(newest_valid(folder / "checkpoints"))["loss_sums"]
        return sums["asr"][1]

    assert learned_tokens(2, stop=StopAfter(2)) == sum(pack.num_learned for (pack,) in packs[:2])
    found = newest_valid(folder / "checkpoints")
    assert found.manifest.world_size == 2
    assert learned_tokens(num_ranks, stop=StopAfter(3), resume_from=found) == sum(
        pack.num_learned for (pack,) in packs[:3]
    )


def test_a_finished_stage_is_not_trained_again(fit, tmp_path):
    uninterrupted, points, _ = fit(tmp_path / "uninterrupted")
    found = newest_valid(tmp_path / "uninterrupted" / "checkpoints")
    assert found.step == STEPS
    model, resumed, trainer = fit(tmp_path / "uninterrupted", resume_from=found)
    assert trainer.global_step == STEPS
    assert resumed == {}
    assert_same(model, uninterrupted)
    assert points


def test_a_checkpoint_has_step_and_cursor_and_trained_weights_only(fit, tmp_path):
    fit(tmp_path / "stage", stop=StopAfter(4))
    status = json.loads((tmp_path / "stage" / "status.json").read_text())
    assert status["step"] == 4
    assert (status["cursor"], status["checkpoint"]) == ([4, 0, 4], "step-00000004")
    assert not status["finished"]
    assert "settings" not in status
    found = newest_valid(tmp_path / "stage" / "checkpoints")
    assert set(found.manifest.facts["frozen"]) == {"language_model"}
    assert progress_of(found)["settings"] == {"a": 1}
    assert b"language_model" not in (found.path / ".metadata").read_bytes()


def test_a_checkpoint_names_the_tracking_run_of_the_logger(fit, tmp_path):
    fit(tmp_path / "stage", every=3, run_id="r1")
    found = newest_valid(tmp_path / "stage" / "checkpoints")
    assert found.manifest.facts["mlflow_run_id"] == "r1"
    assert json.loads((tmp_path / "stage" / "status.json").read_text())["mlflow_run_id"] == "r1"


def test_the_checkpoint_of_the_best_validation_is_kept(fit, tmp_path):
    fit(tmp_path / "stage", every=1, validate=1, keep_best=1)
    losses = {
        checkpoint.step: checkpoint.manifest.facts["val_loss"]
        for checkpoint in valid_checkpoints(tmp_path / "stage" / "checkpoints")
    }
    assert len(losses) in (2, 3)
    assert {5, 6} <= losses.keys()
    assert None not in losses.values()
