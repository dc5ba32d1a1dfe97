import os

import pytest
from rich.console import Console

from audio_lm.config.load import load_recipe, recipe_names
from audio_lm.run.train import train
from audio_lm.sweep.design import first_trials
from audio_lm.sweep.load import load_sweep, sweep_names

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
    composed = load_recipe(name)
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


@pytest.mark.slow
@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_takes_two_steps_a_stage(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe(name).recipe
    if "fsdd" in recipe.corpora and "AUDIO_LM_DATA" not in os.environ:
        pytest.skip("AUDIO_LM_DATA is not set: no recorded speech")
    if "synthetic" in load_recipe(name, ["use.scale=tiny"]).recipe.corpora:
        pytest.importorskip("espeakng_loader")
    small = [override for corpus in recipe.corpora for override in SMALL_CORPORA[corpus]]
    folder = train(load_recipe(name, ["use.scale=tiny", *small]), console=Console(quiet=True))
    for stage in recipe.stages:
        assert folder.is_finished(stage)
        assert folder.status(stage)["step"] == 2
