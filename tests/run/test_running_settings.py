"""Settings that decide no result, changed before a resume: losses and weights stay bit-equal."""

import json
import shutil

import pytest
import yaml

from audio_lm.config.result_keys import affects_result
from audio_lm.config.yaml_layers import flatten
from audio_lm.evaluation.predict import read_predictions
from audio_lm.pipeline import plan_stage
from audio_lm.run import stage as training
from audio_lm.run.folder import RunFolder
from tests.run.killed_run import KILLED_AT, start_run
from tests.run.test_damage import weights

HELD_OUT = "{sources: {chat: [synthetic/dialogues-validation]}, weights: {chat: 1}}"
NOTES = "{source: synthetic/notes-test, task: mna, metrics: [pitch_acc], prompt: tags, stage: pretrain, max_new_tokens: 2}"
TALKS = "{source: synthetic/dialogues-test, task: chat, metrics: [acc], prompt: chatml, stage: chat, max_new_tokens: 2}"
CHANGES = {
    "checkpoints": ["stages.chat.checkpoint_every=3", "stages.chat.checkpoints.keep_last=3"],
    "validation": [
        "stages.chat.validate_every=1",
        f"stages.chat.validation={HELD_OUT}",
        "stages.chat.max_validation_clips=2",
    ],
    "limits": ["stages.chat.max_bad_fraction=0.5", "stages.chat.optimizer.max_nonfinite=9"],
    "machine": ["hardware.num_workers=1", "fault_tolerance.max_restarts=9"],
    "tracking": ["tracking.experiment=other", "tracking.num_listening_clips=1"],
    "names": ["name=other", "stand_ins.corpora={fsdd: {seed: 1}}"],
    "facts": ["stages.chat.mixture.facts={synthetic/dialogues-train: {hours: 1, clips: 2}}"],
    "evaluation": [
        "evaluation.baselines=[]",
        "evaluation.benchmarks.events.max_clips=2",
        f"+evaluation.benchmarks.notes={NOTES}",
        f"+evaluation.benchmarks.talks={TALKS}",
        "+published.notes={pitch_acc: 0.5}",
    ],
}
PLACES = "data_dir={folder}/data", "audio_roots=[{folder}, /]", "cache_dir={folder}/elsewhere"


def key_of(override):
    return override.lstrip("+").partition("=")[0]


def assert_resumes_equal(recipe, killed_run, reference_run, folder, overrides, *, is_exact=True):
    """Resume a killed run with overrides, and check it against the uninterrupted run.

    Args:
        is_exact: the resume reports itself as exact; it cannot where audio files are in another folder.
    """
    shutil.copytree(killed_run, folder, dirs_exist_ok=True)
    outcome, reference = start_run(recipe, folder, "resume=auto", *overrides), reference_run[0]
    assert not outcome.refusal
    assert ("exact" if is_exact else "same order") in outcome.output
    assert {stage for stage, _ in outcome.losses} == {"chat"}
    assert outcome.losses == {key: reference.losses[key] for key in outcome.losses}
    assert outcome.cuts == {key: reference.cuts[key] for key in outcome.cuts}
    ours, theirs = weights(folder / "run" / "stages"), weights(reference_run[1] / "run" / "stages")
    models = [name for name in theirs if "/model/" in name]
    assert models
    assert {name: ours[name] for name in models} == {name: theirs[name] for name in models}
    return outcome


def other_places(folder):
    """Overrides for other folders, in which the corpora are prepared again."""
    return [override.format(folder=folder) for override in PLACES]


def test_all_of_them_can_change_at_once(two_stage_recipe, killed_run, reference_run, tmp_path):
    changes = [override for overrides in CHANGES.values() for override in overrides]
    changes += other_places(tmp_path)
    assert not any(affects_result(key_of(override)) for override in changes)
    outcome = assert_resumes_equal(
        two_stage_recipe, killed_run, reference_run, tmp_path, changes, is_exact=False
    )
    folder = RunFolder(tmp_path / "run")
    assert "pretrain: evaluating events, notes" in outcome.output
    assert "chat: evaluating talks" in outcome.output
    assert len(read_predictions(folder.predictions / "events.jsonl")) == 2
    scores = json.loads(folder.scores.read_text())
    assert {"notes/pitch_acc", "talks/acc"} <= scores.keys()
    recipe = yaml.safe_load(folder.recipe.read_text())
    assert recipe["evaluation"]["benchmarks"].keys() == {"events", "notes", "talks"}
    before = (folder.path / "recipe.yaml.1").read_text()
    assert yaml.safe_load(before)["evaluation"]["benchmarks"].keys() == {"events"}
    (folder.path / "exit_reason.json").unlink()  # the next start is another launch
    again = start_run(two_stage_recipe, tmp_path, "resume=auto", *changes)
    assert "evaluating" not in again.output
    assert "finished before" in again.output
    assert not (folder.path / "recipe.yaml.2").exists(), "nothing has changed"


@pytest.mark.slow
@pytest.mark.parametrize("what", [*CHANGES, "places"])
def test_each_of_them_can_change(two_stage_recipe, killed_run, reference_run, tmp_path, what):
    changes = other_places(tmp_path) if what == "places" else CHANGES[what]
    assert_resumes_equal(
        two_stage_recipe, killed_run, reference_run, tmp_path, changes, is_exact=what != "places"
    )


def save_as_earlier_release():
    """Save checkpoints as an earlier release did: with settings that decide nothing, and digests of whole files."""
    plan_stage.digest_of = lambda source: source.rows.index.digest_of_file[:16]
    settings_of_run = training.settings_of_run

    def all_settings(composed):
        others = {key: value for key, value in flatten(composed.tree) if not affects_result(key)}
        return settings_of_run(composed) | others

    training.settings_of_run = all_settings


@pytest.mark.slow
def test_a_run_of_an_earlier_release_resumes(two_stage_recipe, reference_run, tmp_path):
    before = tmp_path / "before"
    assert start_run(two_stage_recipe, before, kill=KILLED_AT, change=save_as_earlier_release) is None
    (before / "run" / "predictions" / "benchmarks.json").unlink()
    changes = ["stages.chat.checkpoint_every=3", f"+evaluation.benchmarks.notes={NOTES}"]
    outcome = assert_resumes_equal(two_stage_recipe, before, reference_run, tmp_path / "after", changes)
    assert "pretrain: evaluating notes\n" in outcome.output, "the others have answers"


def test_a_setting_that_decides_is_still_refused(two_stage_recipe, killed_run, tmp_path):
    shutil.copytree(killed_run, tmp_path, dirs_exist_ok=True)
    outcome = start_run(
        two_stage_recipe, tmp_path, "resume=auto", "stages.chat.optimizer.clip=0.5", *CHANGES["checkpoints"]
    )
    assert "stages.chat.optimizer.clip changed" in outcome.refusal
