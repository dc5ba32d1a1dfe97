"""Every file of a run and of its cache, emptied, cut in half and with one bit flipped: bit-equal, or refused by name."""

import shutil
from pathlib import Path

import pytest

from audio_lm.common.runtime import key_of
from tests.forked import in_parallel
from tests.run.stopped import started

DAMAGES = {
    "empty": lambda raw, path: b"",
    "half": lambda raw, path: raw[: len(raw) // 2],
    "bit": lambda raw, path: flipped(raw, key_of("bit", path) % (8 * len(raw))) if raw else b"",
}


def flipped(raw, number):
    """Bytes with one bit flipped."""
    place, bit = divmod(number, 8)
    return raw[:place] + bytes([raw[place] ^ (1 << bit)]) + raw[place + 1 :]


def files_of(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def weights(folder):
    return {path: (folder / path).read_bytes() for path in files_of(folder) if path.endswith(".safetensors")}


def assert_goes_on(recipe, folder, undisturbed, path, *overrides):
    """Go on in a folder in which something was damaged; what came of it."""
    outcome, whole = started(recipe, folder, "resume=auto", *overrides), undisturbed[0]
    if outcome.refusal:
        assert Path(path).name in outcome.refusal or str(Path(path).parent) in outcome.refusal, (
            outcome.refusal
        )
        assert len(outcome.refusal) < 1000
        assert "Traceback" not in outcome.refusal
        return "refused"
    for key, loss in outcome.losses.items():
        assert loss == whole.losses[key], key
        assert outcome.cuts[key] == whole.cuts[key], key
    assert weights(folder / "run" / "stages") == weights(undisturbed[1] / "run" / "stages")
    return "exact" if "exact" in outcome.said else "anew"


def damaged(stopped, tmp_path, path, damage):
    """A copy of the killed run and its cache in which one file is damaged."""
    folder = tmp_path / "copy"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(stopped, folder)
    raw = (folder / path).read_bytes()
    (folder / path).write_bytes(DAMAGES[damage](raw, path))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_every_file_can_be_damaged(stopped_recipe, stopped, unstopped, tmp_path, damage):
    def work(number):
        for path in files_of(stopped)[number::2]:
            folder = damaged(stopped, tmp_path / str(number), path, damage)
            print(assert_goes_on(stopped_recipe, folder, unstopped, path), path)

    in_parallel(2, work)


def test_everything_but_the_checkpoints_can_be_damaged_at_once(stopped_recipe, stopped, unstopped, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(stopped, folder)
    for number, path in enumerate(files_of(folder)):
        raw = (folder / path).read_bytes()
        if "checkpoints" not in path:
            damage = [*DAMAGES.values()][number % len(DAMAGES)]
            (folder / path).write_bytes(damage(raw, path))
    assert assert_goes_on(stopped_recipe, folder, unstopped, "") == "exact"


def test_the_newest_checkpoint_of_every_stage_can_be_damaged_at_once(
    stopped_recipe, stopped, unstopped, tmp_path
):
    folder = tmp_path / "copy"
    shutil.copytree(stopped, folder)
    for number, stage in enumerate(("pretrain", "chat")):
        newest = max((folder / "run" / "stages" / stage / "checkpoints").iterdir())
        path = sorted(newest.iterdir())[number]
        path.write_bytes(DAMAGES["bit"](path.read_bytes(), str(number)))
    shutil.rmtree(folder / "run" / "stages" / "pretrain" / "model")
    outcome = started(stopped_recipe, folder, "resume=auto")
    assert outcome.said.count("is skipped") == 2
    assert outcome.losses == {key: unstopped[0].losses[key] for key in outcome.losses}
    assert weights(folder / "run" / "stages") == weights(unstopped[1] / "run" / "stages")
