"""A resume with changed audio, checkpoints or templates is never reported as exact."""

import json
import os
import shutil
from pathlib import Path

import pytest

from audio_lm.checkpoints.manifest import PROGRESS, read_manifest, write_manifest
from audio_lm.common.files import read_table
from audio_lm.common.seals import seals_of
from audio_lm.prompts import chatml
from audio_lm.prompts.conversation import Turn
from tests.run.killed_run import start_run


@pytest.fixture
def folder(killed_run, tmp_path):
    """Copy of the killed run and its cache."""
    shutil.copytree(killed_run, tmp_path / "copy")
    return tmp_path / "copy"


def audio_of(small):
    return next(iter(sorted((Path(small.data_dir) / "synthetic" / "audio").glob("dialogues-train*"))))


@pytest.fixture
def replaced(small):
    """Function that replaces an audio file of the second stage by one of the same length; restored at the end."""
    path = audio_of(small)
    before, content = path.stat(), path.read_bytes()

    def replace():
        path.write_bytes(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))
        return path

    yield replace
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_replaced_audio_file_is_named_and_the_resume_is_not_exact(
    two_stage_recipe, folder, reference_run, replaced
):
    path = replaced()
    outcome = start_run(two_stage_recipe, folder, "resume=auto")
    assert (
        "chat: continues from step 3, same order; audio files of synthetic/dialogues-train were changed"
        in outcome.output
    )
    assert str(path) in outcome.output
    assert "exact" not in outcome.output
    assert outcome.cuts == {key: reference_run[0].cuts[key] for key in outcome.cuts}


def test_a_checkpoint_without_audio_digests_is_reported(two_stage_recipe, folder):
    for checkpoint in (folder / "run" / "stages" / "chat" / "checkpoints").iterdir():
        progress = read_table(checkpoint / PROGRESS)
        del progress["audio"]
        rewrite(checkpoint, progress)
    outcome = start_run(two_stage_recipe, folder, "resume=auto")
    assert "same order; audio files not compared" in outcome.output
    assert "exact" not in outcome.output


def rewrite(checkpoint, progress):
    """Replace the plain values of a checkpoint, with a manifest that fits them."""
    manifest = read_manifest(checkpoint)
    (checkpoint / PROGRESS).write_text(progress if isinstance(progress, str) else json.dumps(progress))
    (checkpoint / "MANIFEST.json").unlink()
    write_manifest(
        checkpoint, type(manifest)(manifest.step, manifest.world_size, manifest.facts, seals_of(checkpoint))
    )


@pytest.mark.parametrize("nonsense", ["", "[]", "{}", "404 not found"])
def test_a_checkpoint_with_invalid_content_is_skipped_like_one_with_a_wrong_checksum(
    two_stage_recipe, folder, reference_run, nonsense
):
    newest = max((folder / "run" / "stages" / "chat" / "checkpoints").iterdir())
    rewrite(newest, nonsense)
    outcome = start_run(two_stage_recipe, folder, "resume=auto")
    assert f"{newest.name} is skipped, {PROGRESS} has no" in outcome.output
    assert "continues from step 2, exact" in outcome.output
    assert outcome.losses == {key: reference_run[0].losses[key] for key in outcome.losses}


@pytest.mark.parametrize("words", ["You are a helpful assistant!", "You are a very helpful audio assistant."])
def test_other_templates_than_those_of_the_checkpoint_are_refused_by_name(two_stage_recipe, folder, words):
    def change():
        chatml.SYSTEM_TURN = Turn("system", (words,))

    outcome = start_run(two_stage_recipe, folder, "resume=auto", change=change)
    assert "templates of chat synthetic/dialogues-train" in outcome.refusal
    assert not outcome.losses
