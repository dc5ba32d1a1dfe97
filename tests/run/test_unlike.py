"""A run that goes on over data or words that are no more what they were is never said to be exact."""

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
from tests.run.stopped import started


@pytest.fixture
def folder(stopped, tmp_path):
    """A copy of the killed run and its cache."""
    shutil.copytree(stopped, tmp_path / "copy")
    return tmp_path / "copy"


def audio_of(small):
    return next(iter(sorted((Path(small.data_dir) / "synthetic" / "audio").glob("dialogues-train*"))))


@pytest.fixture
def replaced(small):
    """Replaces an audio file of the second stage by another of the same length; gives it back at the end."""
    path = audio_of(small)
    before, content = path.stat(), path.read_bytes()

    def replace():
        path.write_bytes(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))
        return path

    yield replace
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_audio_that_was_replaced_is_named_and_nothing_is_called_exact(
    stopped_recipe, folder, unstopped, replaced
):
    path = replaced()
    outcome = started(stopped_recipe, folder, "resume=auto")
    assert (
        "chat: continues from step 3, same order; audio files of synthetic/dialogues-train were changed"
        in outcome.said
    )
    assert str(path) in outcome.said
    assert "exact" not in outcome.said
    assert outcome.cuts == {key: unstopped[0].cuts[key] for key in outcome.cuts}


def test_of_a_checkpoint_that_does_not_know_its_audio_it_is_said_so(stopped_recipe, folder):
    for checkpoint in (folder / "run" / "stages" / "chat" / "checkpoints").iterdir():
        progress = read_table(checkpoint / PROGRESS)
        del progress["audio"]
        rewrite(checkpoint, progress)
    outcome = started(stopped_recipe, folder, "resume=auto")
    assert "same order; audio files not compared" in outcome.said
    assert "exact" not in outcome.said


def rewrite(checkpoint, progress):
    """Plain values of a checkpoint replaced, and sealed as if they had always been so."""
    manifest = read_manifest(checkpoint)
    (checkpoint / PROGRESS).write_text(progress if isinstance(progress, str) else json.dumps(progress))
    (checkpoint / "MANIFEST.json").unlink()
    write_manifest(
        checkpoint, type(manifest)(manifest.step, manifest.world_size, manifest.facts, seals_of(checkpoint))
    )


@pytest.mark.parametrize("nonsense", ["", "[]", "{}", "404 not found"])
def test_a_checkpoint_of_nonsense_is_passed_over_like_one_with_another_checksum(
    stopped_recipe, folder, unstopped, nonsense
):
    newest = max((folder / "run" / "stages" / "chat" / "checkpoints").iterdir())
    rewrite(newest, nonsense)
    outcome = started(stopped_recipe, folder, "resume=auto")
    assert f"{newest.name} is skipped, {PROGRESS} has no" in outcome.said
    assert "continues from step 2, exact" in outcome.said
    assert outcome.losses == {key: unstopped[0].losses[key] for key in outcome.losses}


@pytest.mark.parametrize("words", ["You are a helpful assistant!", "You are a very helpful audio assistant."])
def test_other_words_than_the_run_began_with_are_refused_by_name(stopped_recipe, folder, words):
    def change():
        chatml.SYSTEM_TURN = Turn("system", (words,))

    outcome = started(stopped_recipe, folder, "resume=auto", change=change)
    assert "templates of chat synthetic/dialogues-train" in outcome.refusal
    assert not outcome.losses
