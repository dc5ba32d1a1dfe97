import os
import re
from functools import cache

import pytest
from rich.console import Console

from audio_lm.config.load import load_recipe, recipe_names
from audio_lm.config.resources import resource_folder
from audio_lm.config.yaml_layers import flatten
from audio_lm.data.config import SpecAugmentConfig
from audio_lm.model.config import EncoderSizes
from audio_lm.preview.estimate import estimate_stages
from audio_lm.run.train import train
from audio_lm.sweep.design import first_trials
from audio_lm.sweep.load import load_sweep, sweep_names
from audio_lm.training.config import OptimizerConfig


@cache
def loaded(name):
    """Composed recipe; composing one costs a second."""
    return load_recipe(name)


SMALL_CORPORA = {
    "synthetic": [
        "corpora.synthetic.clips={digits: 12, phrases: 12, commands: 8, events: 8, notes: 8, dialogues: 12, dialogues_text: 4, "
        "spoken_questions: 8, several: 8, spoken: 8, preferences: 8}",
        "+corpora.synthetic.validation_clips=2",
        "+corpora.synthetic.test_clips=3",
        "+corpora.synthetic.word_copies=1",
    ],
    "fsdd": ["+corpora.fsdd.strings=24", "+corpora.fsdd.validation_clips=2", "+corpora.fsdd.test_clips=3"],
}


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_loads(name):
    composed = loaded(name)
    assert composed.recipe.name == name.rpartition("/")[2]
    assert composed.recipe.stages


@pytest.mark.parametrize("name", sweep_names())
def test_every_sweep_has_trials_that_fit_its_recipe(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = (
        "corpora.synthetic={clips: {events: 12, notes: 12, melodies: 12}, validation_clips: 2, test_clips: 2}"
    )
    sweep = load_sweep(name, [small])
    trials = first_trials(sweep)
    assert len(trials) >= 24
    assert [trial.purpose for trial in trials].count("repeat") >= 3


ABLATIONS = [name for name in recipe_names() if name.startswith("ablations/qwen_audio_")]
CHANGED = {
    "without_srwt": {
        "stages.pretrain.mixture.weights.srwt-en": 0.0,
        "stages.pretrain.mixture.weights.srwt-zh": 0.0,
    },
    "natural_prompts": {"stages.pretrain.prompt": "natural"},
    "chatml": {"stages.pretrain.prompt": "chatml"},
    "frozen_encoder": {"stages.pretrain.parts.encoder.lr": None},
    "trained_language_model": {"stages.pretrain.parts.language_model.lr": 5e-5},
    "chat_trained_encoder": {"stages.chat.parts.encoder.lr": 1e-5},
    "without_layer_decay": {"stages.pretrain.parts.encoder.layer_decay": 1.0},
    "frozen_new_tokens": {"stages.pretrain.parts.new_tokens.lr": None},
    "text_in_audio_places_off": {"stages.pretrain.mixture.source_weights.qwen_audio/words_asr-train": 0.0},
}
"""Ablation of Qwen-Audio -> the settings that its one line changes."""


def lines_of(name):
    """Lines of a recipe's file that say something, without its scores."""
    text = (resource_folder("recipes") / f"{name}.yaml").read_text().partition("\npublished:")[0]
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def settings_of(name):
    """Dotted key -> value, without those that follow from others or are only shown."""
    settings = dict(flatten(loaded(name).tree))
    derived = re.compile(r"name|use\.recipe|published\..*|evaluation\.benchmarks\.\w+\.prompt")
    return {key: value for key, value in settings.items() if not derived.fullmatch(key)}


def test_every_ablation_of_qwen_audio_is_one_line_beside_its_counterpart():
    variants = {f"ablations/qwen_audio_{name}": changed for name, changed in CHANGED.items()}
    assert set(ABLATIONS) == variants.keys() | {"ablations/qwen_audio_text_in_audio_places"}
    for name, changed in variants.items():
        use, line = lines_of(name)
        counterpart = loaded(name).recipe.use["recipe"]
        assert use == f"use: {{recipe: {counterpart}}}"
        before, after = settings_of(counterpart), settings_of(name)
        assert before.keys() == after.keys()
        assert {key: after[key] for key in after if before[key] != after[key]} == changed, (name, line)


def test_the_ablation_of_word_time_stamps_has_both_rows_of_the_paper():
    with_srwt, without = (loaded(name).recipe for name in ("qwen_audio", "ablations/qwen_audio_without_srwt"))
    rows = {
        "librispeech_dev_clean": (0.0193, 0.0179),
        "librispeech_dev_other": (0.0418, 0.0400),
        "librispeech_test_clean": (0.0222, 0.0204),
        "librispeech_test_other": (0.0421, 0.0419),
        "aishell1_dev": (0.0154, 0.0122),
        "aishell1_test": (0.0171, 0.0129),
        "clotho_aqa": (0.5648, 0.5795),
        "music_avqa": (0.7027, 0.7211),
    }
    first = {name: next(iter(scores.values())) for name, scores in without.published.items()}
    assert first == {name: row[0] for name, row in rows.items()}, "and no score of table 2"
    assert all(next(iter(with_srwt.published[name].values())) == row[1] for name, row in rows.items())
    assert (
        without.published["clotho_aqa"]["acc_binary"],
        with_srwt.published["clotho_aqa"]["acc_binary"],
    ) == (0.7418, 0.7491)


TABLE_6 = {
    "pretrain": {
        "lr": 5e-5,
        "min_lr": 1e-5,
        "layer_decay": 0.95,
        "steps": 500_000,
        "warmup": 2_000,
        "batch": 120,
        "learns": "encoder",
    },
    "chat": {
        "lr": 1e-5,
        "min_lr": 1e-6,
        "layer_decay": 1.0,
        "steps": 8_000,
        "warmup": 3_000,
        "batch": 128,
        "learns": "language_model",
    },
}
"""Hyper-parameters of Qwen-Audio (arXiv:2311.07919, table 6); its layer decay of 0 in the second column is none."""


@pytest.mark.parametrize("column", TABLE_6)
def test_qwen_audio_has_the_numbers_of_its_table_of_hyper_parameters(column):
    recipe, expected = loaded("qwen_audio").recipe, TABLE_6[column]
    stage = recipe.stages[column]
    trained = {part for part in ("encoder", "language_model") if stage.parts[part].lr is not None}
    learning = stage.parts[expected["learns"]]
    assert trained == {expected["learns"]}
    assert (learning.lr, stage.schedule.min_lr, learning.layer_decay) == (
        expected["lr"],
        expected["min_lr"],
        expected["layer_decay"],
    )
    assert (stage.steps, stage.schedule.warmup_steps, stage.global_batch) == (
        expected["steps"],
        expected["warmup"],
        expected["batch"],
    )
    assert stage.schedule.kind == "cosine"
    assert stage.optimizer == OptimizerConfig(
        kind="adamw", betas=(0.9, 0.98), eps=1e-6, weight_decay=0.05, clip=1.0
    )
    assert stage.spec_augment == SpecAugmentConfig(
        time_warp=80, frequency_width=27, time_width=100, time_share=1.0
    )
    assert recipe.hardware.precision == "bf16"
    assert recipe.hardware.sharding == "fsdp"
    assert recipe.hardware.activation_checkpointing == []


def test_the_encoders_of_the_papers_have_their_sizes():
    for name, num_mels in (("qwen_audio", 80), ("qwen2_audio", 128)):
        sizes = loaded(name).recipe.model.encoder.sizes
        assert sizes == EncoderSizes(
            num_mels=num_mels, width=1280, num_layers=32, num_heads=20, mlp_width=5120
        )
    hours = loaded("qwen2_audio").recipe.stages["pretrain"].mixture.weights
    assert hours == {"asr": 370_000, "mc": 140_000, "aac": 10_000}


@pytest.mark.parametrize("name", ["qwen_audio", "qwen2_audio", *ABLATIONS])
def test_a_full_size_recipe_can_be_planned_without_its_data(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = loaded(name).recipe
    planned = list(estimate_stages(recipe))
    assert [stage.name for stage in planned] == [*recipe.stages]
    assert all(stage.memory_gib["weights"] > 10 for stage in planned)


@pytest.fixture(scope="module")
def shared_data(tmp_path_factory):
    """Folder of corpora that are the same in every recipe without corpora of its own."""
    return tmp_path_factory.mktemp("data")


@pytest.mark.slow
@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_takes_two_steps_a_stage(name, shared_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe(name).recipe
    if "fsdd" in recipe.corpora and "AUDIO_LM_DATA" not in os.environ:
        pytest.skip("AUDIO_LM_DATA is not set: no recorded speech")
    if "synthetic" in load_recipe(name, ["use.scale=tiny"]).recipe.corpora:
        pytest.importorskip("espeakng_loader")
    small = [override for corpus in recipe.corpora for override in SMALL_CORPORA[corpus]]
    data = [] if recipe.corpora else [f"data_dir={shared_data}"]
    folder = train(load_recipe(name, ["use.scale=tiny", *small, *data]), console=Console(quiet=True))
    for stage in recipe.stages:
        assert folder.is_finished(stage)
        assert folder.status(stage)["step"] == 2
