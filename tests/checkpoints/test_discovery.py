import shutil
from pathlib import Path

import pytest

from audio_lm.checkpoints.discovery import (
    PINNED,
    checkpoint_name,
    find_checkpoint,
    newest_valid,
    prune,
    remove_unfinished,
    valid_checkpoints,
)
from audio_lm.checkpoints.manifest import FILE, FORMAT, PROGRESS, CheckpointManifest, write_manifest
from audio_lm.checkpoints.process_group import Group
from audio_lm.checkpoints.safe_reader import METADATA
from audio_lm.common.errors import CheckpointError
from tests.checkpoints.tiny import Training, assert_equal, write

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture
def three(tmp_path):
    """Checkpoints of steps 1, 2 and 3."""
    training = Training()
    for step in (1, 2, 3):
        write(tmp_path, training.walk(step), val_loss=[0.5, 0.1, 0.3][step - 1])
    return tmp_path


def flip(path):
    values = bytearray(path.read_bytes())
    values[len(values) // 2] ^= 4
    path.write_bytes(values)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-10])


@pytest.mark.parametrize("damage", [flip, truncate, Path.unlink])
@pytest.mark.parametrize("name", ["__0_0.distcp", METADATA, PROGRESS, FILE])
def test_whatever_is_damaged_is_found_and_the_one_before_it_is_taken(three, name, damage):
    damage(three / checkpoint_name(3) / name)
    looked = find_checkpoint(three, Group())
    assert looked.found.step == 2
    ((path, why),) = looked.passed_over
    assert path == three / checkpoint_name(3)
    assert name in why
    assert_equal(Training().load(looked.found).tensors, Training().walk(2).tensors)


def test_without_checksums_a_flipped_bit_would_be_loaded(three):
    flip(three / checkpoint_name(3) / "__0_0.distcp")
    assert newest_valid(three).step == 3
    assert find_checkpoint(three, Group()).found.step == 2


def test_order_is_by_step_and_not_by_time_and_a_name_is_not_believed(three):
    (three / checkpoint_name(1)).touch()
    assert newest_valid(three).step == 3
    shutil.copytree(three / checkpoint_name(1), three / checkpoint_name(9))
    looked = find_checkpoint(three)
    assert looked.found.step == 3
    assert looked.passed_over == ((three / checkpoint_name(9), "its manifest is of step 1"),)


def test_nothing_is_there_before_the_first(tmp_path):
    assert newest_valid(tmp_path) is newest_valid(tmp_path / "nowhere") is None
    (tmp_path / f"{checkpoint_name(4)}.tmp-12345678").mkdir()
    assert find_checkpoint(tmp_path).passed_over == ()


def test_a_sweep_clears_halves_and_moves_aside_what_does_not_hold(three):
    (three / f"{checkpoint_name(4)}.tmp-12345678").mkdir()
    truncate(three / checkpoint_name(3) / METADATA)
    remove_unfinished(three, find_checkpoint(three).passed_over)
    assert sorted(path.name for path in three.iterdir()) == [
        checkpoint_name(1),
        checkpoint_name(2),
        checkpoint_name(3) + ".broken-1",
    ]
    write(three, Training().walk(3))
    assert newest_valid(three).step == 3


def steps(folder):
    return sorted(one.step for one in valid_checkpoints(folder))


def test_the_newest_the_best_and_the_pinned_stay(tmp_path):
    training = Training()
    for step, loss in enumerate([0.9, 0.2, 0.8, 0.1, None, 0.7, 0.6, 0.5], start=1):
        write(tmp_path, training.walk(step), val_loss=loss)
    (tmp_path / checkpoint_name(1) / PINNED).touch()
    gone = prune(tmp_path, keep_last=2, keep_best=2, pin_every=3)
    assert steps(tmp_path) == [1, 2, 3, 4, 6, 7, 8]
    assert [path.name for path in gone] == [checkpoint_name(5)]
    prune(tmp_path, keep_last=2, keep_best=0, pin_every=0)
    assert steps(tmp_path) == [1, 7, 8]


def test_never_fewer_than_two_that_hold_are_left(three):
    truncate(three / checkpoint_name(3) / METADATA)
    prune(three, keep_last=0, keep_best=0, pin_every=0)
    assert steps(three) == [1, 2]


def test_a_checkpoint_of_this_release_is_read_by_every_later_one():
    found = find_checkpoint(GOLDEN / f"format_{FORMAT}", Group()).found
    assert_equal(Training().load(found).tensors, Training().walk(2).tensors)


def test_one_file_from_before_checkpoints_were_folders_is_refused_with_its_version():
    with pytest.raises(
        CheckpointError, match=r"version 0, one file.*finish the stage with the release that began it"
    ):
        newest_valid(GOLDEN / "format_0")


def test_a_later_format_is_refused_and_not_passed_over(three):
    (three / checkpoint_name(4)).mkdir()
    write_manifest(three / checkpoint_name(4), CheckpointManifest(4, 1, {}, {}, format=FORMAT + 1))
    with pytest.raises(CheckpointError, match=f"format {FORMAT + 1}"):
        find_checkpoint(three)
