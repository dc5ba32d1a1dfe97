"""A corpus in which one audio file in a hundred is damaged, in six ways."""

import json
from itertools import islice

import numpy as np
import pytest
import soundfile
from lightning import Callback
from rich.console import Console

from audio_lm.bench.clips import cut_line, write_manifest
from audio_lm.common.errors import DataError
from audio_lm.config.load import load_recipe
from audio_lm.data.mixture.schedule import Cursor
from audio_lm.pipeline.plan_stage import compile_stage, plan_stage
from audio_lm.pipeline.vocabulary import build_vocabulary
from audio_lm.run import stage as training
from audio_lm.run.train import train

NUM_CLIPS = 600
RECIPE = """
use: {{model: tiny, hardware: cpu}}
data_dir: {folder}/data
tracking: {{uri: "sqlite:///{folder}/mlflow.db"}}
stages:
  pretrain:
    prompt: tags
    mixture: {{sources: {{asr: [made/clips-train]}}, weights: {{asr: 1}}}}
    parts: {{encoder: {{lr: 1e-3}}, projector: {{lr: 1e-3}}, new_tokens: {{lr: 1e-3}}, language_model: {{lr: null}}}}
    spec_augment: null
    steps: 4
    global_batch: 600
    pack_tokens: 40_000
"""


def damage(folder):
    """Damage six files in six ways; returns the ids of their cuts."""
    numbers = (17, 101, 250, 333, 404, 599)
    gone, empty, text, short, silent, loud = (folder / f"{number:05d}.wav" for number in numbers)
    gone.unlink()
    empty.write_bytes(b"")
    text.write_bytes(b"404 not found")
    wave = np.random.default_rng(0).normal(0, 0.1, 3_000)
    soundfile.write(short, wave, 16_000)
    soundfile.write(silent, np.zeros(8_000), 16_000)
    soundfile.write(loud, np.tile(wave, 3)[:8_000] * 100, 16_000, subtype="FLOAT")
    return {f"clip-{number}" for number in numbers}


@pytest.fixture
def recipe(tmp_path):
    """Recipe that trains on four times as many clips as there are."""
    audio = tmp_path / "audio"
    audio.mkdir()
    rng, lines = np.random.default_rng(1), []
    for number in range(NUM_CLIPS):
        path = audio / f"{number:05d}.wav"
        soundfile.write(path, rng.normal(0, 0.1, 8_000), 16_000)
        lines.append(cut_line(f"clip-{number}", path, 8_000))
    write_manifest(tmp_path / "data" / "made" / "clips-train.jsonl", iter(lines))
    path = tmp_path / "damaged_audio.yaml"
    path.write_text(RECIPE.format(folder=tmp_path))
    return path


def order_of(path, overrides=()):
    loaded = load_recipe(path, overrides).recipe
    sources = {name: compile_stage(loaded, stage) for name, stage in loaded.stages.items()}
    vocabulary = build_vocabulary(loaded, sources)
    plan = plan_stage(loaded, loaded.stages["pretrain"], sources["pretrain"], vocabulary).plan
    steps = islice(plan.steps(Cursor()), 4)
    return [(step.step, example) for step, packs in steps for pack in packs for example in pack]


@pytest.mark.slow
def test_below_the_cap_the_run_finishes_and_all_damaged_clips_are_listed(recipe, tmp_path):
    before = order_of(recipe)
    bad = damage(tmp_path / "audio")
    overrides = ["stages.pretrain.max_bad_fraction=0.02"]
    assert order_of(recipe, overrides) == before
    folder = train(load_recipe(recipe, overrides), out=tmp_path / "run", console=Console(quiet=True))
    assert folder.is_finished("pretrain")
    rows = [
        json.loads(line) for line in (folder.stage("pretrain") / "bad_audio.jsonl").read_text().splitlines()
    ]
    due = [(step, f"clip-{example.row}") for step, example in before if f"clip-{example.row}" in bad]
    assert {cut for _, cut in due} == bad
    assert sorted((row["step"], row["cut"]) for row in rows) == sorted(due)
    assert {row["source"] for row in rows} == {"made/clips-train"}
    assert all(row["reason"] and row["detail"] for row in rows)
    sources = json.loads((folder.stage("pretrain") / "mixture.json").read_text())["leaves"]
    assert [row["clips"] for row in sources] == [4 * NUM_CLIPS]


def test_above_the_cap_the_run_does_not_start_and_names_a_clip(recipe, tmp_path):
    damage(tmp_path / "audio")
    with pytest.raises(DataError, match=r"4 of 600 audio files.*max_bad_fraction=0.001") as caught:
        train(load_recipe(recipe), out=tmp_path / "run", console=Console(quiet=True))
    assert "clip-17" in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_clips_damaged_during_training_stop_the_run_too(recipe, tmp_path):
    order_of(recipe)  # compiled before the damage
    damage(tmp_path / "audio")
    with pytest.raises(DataError, match=r"\d of 600 clips could not be used.*clip-\d+ of made/clips-train: "):
        train(load_recipe(recipe), out=tmp_path / "run", console=Console(quiet=True))


class Unmount(Callback):
    """Removes the folder of audio after the second step."""

    def __init__(self, folder):
        self.folder = folder

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == 2:
            self.folder.rename(self.folder.with_name("elsewhere"))


@pytest.mark.slow
def test_a_source_that_disappears_stops_the_run_with_the_reason(recipe, tmp_path, monkeypatch):
    build = training.build_trainer
    monkeypatch.setattr(
        training,
        "build_trainer",
        lambda *a, callbacks, **k: build(*a, callbacks=[Unmount(tmp_path / "audio"), *callbacks], **k),
    )
    with pytest.raises(DataError, match=r"600 of 2400 clips could not be used.*of made/clips-train: missing"):
        train(load_recipe(recipe), out=tmp_path / "run", console=Console(quiet=True))
    rows = (tmp_path / "run" / "stages" / "pretrain" / "bad_audio.jsonl").read_text().splitlines()
    assert {json.loads(row)["step"] for row in rows} == {4}  # the third was already loaded
