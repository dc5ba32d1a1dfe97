"""A run that goes on from the trained state of another one: bit-equal to a longer run, and refused where it cannot be."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
from lightning import Callback
from rich.console import Console

from audio_lm.common.errors import RecipeError, UserError
from audio_lm.config.load import load_recipe
from audio_lm.fault_tolerance.exit_status import RunEndedError
from audio_lm.run import extension
from audio_lm.run import stage as training
from audio_lm.run.folder import RunFolder
from audio_lm.run.train import train
from tests.run.command import run
from tests.run.test_train import assert_equal_weights, weights

CONSTANT = ("stages.pretrain.schedule.kind=constant", "stages.chat.schedule.kind=constant")
LONGER = "stages.pretrain.steps=10"


class KilledError(Exception):
    """Ends a process in a test."""


class Observer(Callback):
    """Records the cuts of every step, and stops the run after one."""

    def __init__(self, stop=None):
        self.stop, self.cuts = stop, {}

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        stage = Path(trainer.default_root_dir).name
        self.cuts[stage, trainer.global_step] = [pack.cut_ids for pack in batch]
        if (stage, trainer.global_step) == self.stop:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def run_training(small_recipe, monkeypatch):
    """Function that trains the small recipe; returns the run, the cuts of each step and the output."""
    build = training.build_trainer

    def run(out, *overrides, stop=None):
        observer = Observer(stop)
        monkeypatch.setattr(
            training,
            "build_trainer",
            lambda *a, callbacks, **k: build(*a, callbacks=[observer, *callbacks], **k),
        )
        console = Console(record=True, width=400, file=open(os.devnull, "w"))  # noqa: SIM115
        try:
            folder = train(load_recipe(small_recipe, [*CONSTANT, *overrides]), out=out, console=console)
        except RunEndedError:
            folder = RunFolder(out)
        return folder, observer.cuts, console.export_text()

    return run


@pytest.fixture(scope="module")
def short_run(small_recipe, small, tmp_path_factory):
    """A run of six and three steps at constant rates."""
    out = tmp_path_factory.mktemp("short") / "run"
    return train(load_recipe(small_recipe, CONSTANT), out=out, console=Console(quiet=True))


def content_of(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_an_extended_run_equals_a_run_of_that_many_steps_bit_for_bit(short_run, run_training, tmp_path):
    before = content_of(short_run.path)
    whole, all_cuts, _ = run_training(tmp_path / "whole", LONGER)
    longer, cuts, text = run_training(tmp_path / "longer", LONGER, f"extends={short_run.path}")
    assert f"goes on from step 6 of stage 'pretrain' of {short_run.path}" in text
    assert "pretrain: continues from step 6, exact" in text
    assert sorted(step for stage, step in cuts if stage == "pretrain") == [7, 8, 9, 10]
    assert cuts == {key: all_cuts[key] for key in cuts}
    for stage in ("pretrain", "chat"):
        assert_equal_weights(weights(longer, stage), weights(whole, stage))
    assert content_of(short_run.path) == before, "the extended run is only read"
    events = (longer.path / "tracking.jsonl").read_text()
    assert f'"extends": "step 6 of stage \'pretrain\' of {short_run.path}"' in events, (
        "a tag of the tracking run"
    )
    origin = json.loads((longer.path / extension.MARKER).read_text())
    assert (origin["run"], origin["stage"], origin["step"]) == (str(short_run.path), "pretrain", 6)


def test_finished_stages_are_copied_and_keep_their_answers(short_run, run_training, tmp_path):
    longer, cuts, text = run_training(tmp_path / "longer", "stages.chat.steps=5", f"extends={short_run.path}")
    assert "pretrain: finished before, 6 steps" in text
    assert sorted(cuts) == [("chat", 4), ("chat", 5)]
    assert_equal_weights(weights(longer, "pretrain"), weights(short_run, "pretrain"))
    kept, ours = (json.loads(run.scores.read_text()) for run in (short_run, longer))
    assert kept.keys() == ours.keys()
    answers = longer.predictions / "events.jsonl"
    assert answers.read_bytes() == (short_run.predictions / "events.jsonl").read_bytes()
    assert "evaluating the untrained model" not in text


@pytest.mark.slow
@pytest.mark.parametrize("stop", [7, None], ids=["after a step", "while the state is copied"])
def test_an_interrupted_extension_continues_by_itself(short_run, run_training, tmp_path, stop, monkeypatch):
    longer = [LONGER, f"extends={short_run.path}"]
    whole, _, _ = run_training(tmp_path / "whole", *longer)
    if stop is None:
        copy = shutil.copytree

        def killed(source, target, **options):
            copy(source, target, **options)
            raise KilledError

        monkeypatch.setattr(extension.shutil, "copytree", killed)
        with pytest.raises(KilledError):
            run_training(tmp_path / "run", *longer)
        monkeypatch.setattr(extension.shutil, "copytree", copy)
    else:
        run_training(tmp_path / "run", *longer, stop=("pretrain", stop))
    resumed, cuts, text = run_training(tmp_path / "run", *longer, "resume=auto")
    assert ("goes on from" in text) == (stop is None)
    assert min(step for stage, step in cuts if stage == "pretrain") == (stop or 6) + 1
    for stage in ("pretrain", "chat"):
        assert_equal_weights(weights(resumed, stage), weights(whole, stage))


@pytest.mark.slow
def test_an_extension_is_extended_again(short_run, run_training, tmp_path):
    run_training(tmp_path / "ten", LONGER, f"extends={short_run.path}")
    longest, cuts, _ = run_training(
        tmp_path / "run", "stages.pretrain.steps=12", f"extends={tmp_path / 'ten'}"
    )
    whole, _, _ = run_training(tmp_path / "whole", "stages.pretrain.steps=12")
    assert min(step for stage, step in cuts if stage == "pretrain") == 11
    assert_equal_weights(weights(longest, "chat"), weights(whole, "chat"))


@pytest.mark.slow
def test_another_rate_is_used_from_the_step_on(short_run, run_training, tmp_path):
    rate = "stages.pretrain.parts.encoder.lr=1e-4"
    run, _, _ = run_training(tmp_path / "rate", LONGER, rate, f"extends={short_run.path}")
    same, _, _ = run_training(tmp_path / "same", LONGER, f"extends={short_run.path}")
    assert run.status("pretrain")["step"] == 10
    ours, theirs = (weights(each, "pretrain")["encoder"] for each in (run, same))
    assert any(not ours[name].equal(theirs[name]) for name in ours)


REFUSED = {
    "nothing differs": ((), "all stages .* raise stages.chat.steps, which is 3"),
    "fewer steps": (("stages.pretrain.steps=5",), "trained 6 steps of stage 'pretrain'.*is 5 .*raise it"),
    "another seed": ((LONGER, "seed=3"), "trained with another seed"),
    "another mixture": (
        (LONGER, "stages.pretrain.mixture.weights.sec=3"),
        r"another stages\.pretrain\.mixture\.weights\.sec .*stages\.pretrain\.start_from=.*/stages/pretrain",
    ),
    "other trained parts": (
        (LONGER, "stages.pretrain.parts.language_model.lr=1e-3"),
        "another parts .trained there: encoder, projector, new_tokens; here",
    ),
    "another optimizer": ((LONGER, "stages.pretrain.optimizer.kind=muon"), r"optimizer\.kind"),
}


@pytest.mark.parametrize(("overrides", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_go_on_is_refused_in_one_sentence(short_run, run_training, tmp_path, overrides, message):
    with pytest.raises(RecipeError, match=message):
        run_training(tmp_path / "run", *overrides, f"extends={short_run.path}")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_folder_without_a_run_and_a_stopped_run_of_the_same_recipe_are_refused(
    run_training, small_recipe, tmp_path, capsys
):
    with pytest.raises(UserError, match="holds no run"):
        run_training(tmp_path / "run", f"extends={tmp_path}")
    assert run("train", small_recipe, "--extend", tmp_path, "--out", tmp_path / "run") == 2
    assert "refused because extends: " in capsys.readouterr().err
    with pytest.raises(RecipeError, match="is not a valid folder"):
        load_recipe(small_recipe, [f"extends={'a' * 300}"])
    run_training(tmp_path / "stopped", stop=("pretrain", 3))
    with pytest.raises(UserError, match="resume=auto --out"):
        run_training(tmp_path / "run", f"extends={tmp_path / 'stopped'}")
