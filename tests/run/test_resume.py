"""A mixture that changes while a stage runs: refused, or declared as a segment."""

import json
import os
import shutil
import signal
from collections import Counter

import pytest
from lightning import Callback
from rich.console import Console

from audio_lm.checkpoints.discovery import newest_valid
from audio_lm.common.errors import DataError, RecipeError
from audio_lm.config.load import load_recipe
from audio_lm.data.mixture import schedule
from audio_lm.fault_tolerance.exit_status import RunEndedError
from audio_lm.run import stage as training
from audio_lm.run.train import train

STEPS, STOP = 26, 3
RECIPE = """
use: {{model: tiny, hardware: cpu}}
data_dir: {data}
tracking: {{uri: "sqlite:///{folder}/mlflow.db"}}
corpora: {corpora}
stages:
  pretrain:
    prompt: tags
    mixture: {{sources: {sources}, weights: {weights}}}
    parts: {{encoder: {{lr: null}}, projector: {{lr: 1e-3}}, new_tokens: {{lr: null}}, language_model: {{lr: null}}}}
    steps: {steps}
    pack_tokens: 300
"""
EVENTS, NOTES, MORE = "synthetic/events-train", "synthetic/notes-train", "synthetic/notes-test"
OLD = {"sources": {"sec": [EVENTS], "mna": [NOTES]}, "weights": {"sec": 1, "mna": 1}}
NEW = {"sources": {"mna": [NOTES, MORE]}, "weights": {"mna": 1}}


class Observer(Callback):
    """Records the cuts of every step, and interrupts one."""

    def __init__(self, stop):
        self.stop, self.steps = stop, {}

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.steps[trainer.global_step] = [pack.cut_ids for pack in batch]
        if trainer.global_step == self.stop:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def run_training(small, small_recipe, tmp_path, monkeypatch):
    """Function that trains with a mixture; returns the cuts of each step, and the output."""
    monkeypatch.setattr(schedule, "WINDOW_STEPS", 8)
    build = training.build_trainer

    def run(mixture, *overrides, out="run", stop=None, steps=STEPS):
        path = tmp_path / "mixed.yaml"
        corpora = json.dumps(small.corpora)
        text = RECIPE.format(data=small.data_dir, folder=tmp_path, corpora=corpora, steps=steps, **mixture)
        path.write_text(text)
        observer = Observer(stop)
        console = Console(record=True, width=300, quiet=False, file=open(os.devnull, "w"))  # noqa: SIM115
        monkeypatch.setattr(
            training,
            "build_trainer",
            lambda *a, callbacks, **k: build(*a, callbacks=[observer, *callbacks], **k),
        )
        try:
            train(load_recipe(path, overrides), out=tmp_path / out, console=console)
        except RunEndedError:
            assert stop is not None
        return observer.steps, console.export_text()

    return run


def status(tmp_path, out="run"):
    return json.loads((tmp_path / out / "stages" / "pretrain" / "status.json").read_text())


@pytest.mark.slow
def test_a_declared_mixture_follows_the_old_order_and_resumes_exactly(run_training, tmp_path):
    whole, _ = run_training(OLD, out="whole")
    first, _ = run_training(OLD, stop=STOP)
    shutil.copytree(tmp_path / "run", tmp_path / "undisturbed")

    undisturbed, output = run_training(NEW, "resume=segment", out="undisturbed")
    (declared,) = status(tmp_path, "undisturbed")["declared"]
    begin = declared["step"]
    assert STOP < begin < 10
    assert f"continues from step {STOP}; from step {begin} on" in output
    assert f"sec {EVENTS} 50.0 -> 0.0 %" in output
    assert f"mna {MORE} 0.0 -> 25.0 %" in output
    assert sorted(undisturbed) == list(range(STOP + 1, STEPS + 1))
    before = {step: cuts for step, cuts in (first | undisturbed).items() if step <= begin}
    assert before == {step: whole[step] for step in before}
    assert [undisturbed[step] for step in range(begin + 1, STEPS + 1)] != [
        whole[step] for step in range(begin + 1, STEPS + 1)
    ]
    counts = Counter(
        cut.rpartition("-")[0]
        for step in range(begin + 1, STEPS + 1)
        for pack in undisturbed[step]
        for cut in pack
    )
    assert set(counts) == {"notes-train", "notes-test"}
    assert counts["notes-test"] / sum(counts.values()) == pytest.approx(0.25, abs=0.02)

    second, _ = run_training(NEW, "resume=segment", stop=begin + 3)
    shutil.copytree(tmp_path / "run", tmp_path / "before_segment")
    third, output = run_training(NEW, "resume=auto")
    assert "the same packs follow" in output
    assert second | third == undisturbed
    assert status(tmp_path)["plan"] == status(tmp_path, "undisturbed")["plan"]
    assert len(status(tmp_path)["plan"]["segments"]) == 2
    assert (tmp_path / "run" / "recipe.yaml.1").is_file()

    newest = newest_valid(tmp_path / "before_segment" / "stages" / "pretrain" / "checkpoints")
    assert newest.step == begin + 3
    (newest.path / "progress.json").write_text("{}")
    again, output = run_training(NEW, "resume=auto", out="before_segment")
    assert f"{newest.path.name} is skipped, progress.json has 2 bytes" in output
    assert f"continues from step {STOP}, exact" in output  # before the segment, which is still declared
    assert again == undisturbed


def test_a_mixture_that_is_not_declared_is_refused_and_named(run_training):
    run_training(OLD, stop=STOP)
    weights = {**OLD, "weights": {"sec": 1, "mna": 3}}
    with pytest.raises(RecipeError, match=r"stages\.pretrain\.mixture\.weights\.mna changed.*resume=segment"):
        run_training(weights, "resume=auto")


def test_what_no_segment_can_change_is_refused_and_named(run_training):
    run_training(OLD, stop=STOP)
    with pytest.raises(RecipeError, match=r"stages\.pretrain\.pack_tokens changed"):
        run_training(NEW, "resume=segment", "stages.pretrain.pack_tokens=320")
    with pytest.raises(RecipeError, match="seed changed"):
        run_training(NEW, "resume=segment", "seed=5")


@pytest.mark.slow
def test_rows_that_were_trained_on_cannot_change(run_training, tmp_path):
    data = f"data_dir={tmp_path / 'data'}"
    run_training(OLD, data, stop=STOP)
    manifest = tmp_path / "data" / f"{EVENTS}.jsonl"
    manifest.write_text("".join(manifest.read_text().splitlines(keepends=True)[:-1]))
    for mixture in (OLD, NEW):  # still in the mixture, and left out of it
        with pytest.raises(DataError, match=f"source sec {EVENTS}.* changed since it started"):
            run_training(mixture, "resume=segment", data)
    assert not (tmp_path / "run" / "recipe.yaml.1").exists()  # refused before anything is written


@pytest.mark.slow
def test_a_segment_without_a_change_is_a_plain_resume(run_training, tmp_path):
    run_training(OLD, stop=STOP)
    _, output = run_training(OLD, "resume=segment", stop=STOP + 2)
    assert "the same packs follow" in output
    assert status(tmp_path)["declared"] == []


def test_a_segment_needs_a_run_and_remaining_steps(run_training):
    with pytest.raises(RecipeError, match="holds no run to resume; name its folder with --out"):
        run_training(NEW, "resume=segment")
    run_training(OLD, stop=STOP, steps=6)
    with pytest.raises(
        DataError, match="'pretrain' ends at step 6, and packs are already planned up to step"
    ):
        run_training(NEW, "resume=segment", steps=6)
