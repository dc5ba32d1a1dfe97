"""Every file of a run and its cache, emptied, truncated or with a flipped bit: a resume is bit-equal or refused by name."""

import shutil
from pathlib import Path

import pytest

from audio_lm.common.rng import key_of
from tests.forked import in_parallel
from tests.run.killed_run import start_run

DAMAGES = {
    "empty": lambda raw, path: b"",
    "half": lambda raw, path: raw[: len(raw) // 2],
    "bit": lambda raw, path: flipped(raw, key_of("bit", path) % (8 * len(raw))) if raw else b"",
}


def flipped(raw, number):
    """Bytes with one bit flipped."""
    at, bit = divmod(number, 8)
    return raw[:at] + bytes([raw[at] ^ (1 << bit)]) + raw[at + 1 :]


def files_of(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def weights(folder):
    return {path: (folder / path).read_bytes() for path in files_of(folder) if path.endswith(".safetensors")}


def assert_bit_equal_or_refused(recipe, folder, reference_run, path, *overrides):
    """Resume in a folder with a damaged file; returns the kind of outcome."""
    outcome, reference = start_run(recipe, folder, "resume=auto", *overrides), reference_run[0]
    if outcome.refusal:
        assert Path(path).name in outcome.refusal or str(Path(path).parent) in outcome.refusal, (
            outcome.refusal
        )
        assert len(outcome.refusal) < 1000
        assert "Traceback" not in outcome.refusal
        return "refused"
    for key, loss in outcome.losses.items():
        assert loss == reference.losses[key], key
        assert outcome.cuts[key] == reference.cuts[key], key
    assert weights(folder / "run" / "stages") == weights(reference_run[1] / "run" / "stages")
    return "exact" if "exact" in outcome.output else "other"


def damaged(killed_run, tmp_path, path, damage):
    """Copy of the killed run and its cache with one damaged file."""
    folder = tmp_path / "copy"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(killed_run, folder)
    raw = (folder / path).read_bytes()
    (folder / path).write_bytes(DAMAGES[damage](raw, path))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_every_file_can_be_damaged(two_stage_recipe, killed_run, reference_run, tmp_path, damage):
    def work(number):
        for path in files_of(killed_run)[number::2]:
            folder = damaged(killed_run, tmp_path / str(number), path, damage)
            print(assert_bit_equal_or_refused(two_stage_recipe, folder, reference_run, path), path)

    in_parallel(2, work)


def test_everything_but_the_checkpoints_can_be_damaged_at_once(
    two_stage_recipe, killed_run, reference_run, tmp_path
):
    folder = tmp_path / "copy"
    shutil.copytree(killed_run, folder)
    for number, path in enumerate(files_of(folder)):
        raw = (folder / path).read_bytes()
        if "checkpoints" not in path:
            damage = [*DAMAGES.values()][number % len(DAMAGES)]
            (folder / path).write_bytes(damage(raw, path))
    assert assert_bit_equal_or_refused(two_stage_recipe, folder, reference_run, "") == "exact"


def test_the_newest_checkpoint_of_every_stage_can_be_damaged_at_once(
    two_stage_recipe, killed_run, reference_run, tmp_path
):
    folder = tmp_path / "copy"
    shutil.copytree(killed_run, folder)
    for number, stage in enumerate(("pretrain", "chat")):
        newest = max((folder / "run" / "stages" / stage / "checkpoints").iterdir())
        path = sorted(newest.iterdir())[number]
        path.write_bytes(DAMAGES["bit"](path.read_bytes(), str(number)))
    shutil.rmtree(folder / "run" / "stages" / "pretrain" / "model")
    outcome = start_run(two_stage_recipe, folder, "resume=auto")
    assert outcome.output.count("is skipped") == 2
    assert outcome.losses == {key: reference_run[0].losses[key] for key in outcome.losses}
    assert weights(folder / "run" / "stages") == weights(reference_run[1] / "run" / "stages")
