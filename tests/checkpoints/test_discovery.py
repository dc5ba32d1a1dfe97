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
from audio_lm.checkpoints.manifest import FORMAT, PROGRESS, CheckpointManifest, write_manifest
from audio_lm.checkpoints.process_group import Group
from audio_lm.checkpoints.safe_reader import METADATA
from audio_lm.common.errors import CheckpointError
from audio_lm.common.seals import FILE
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
def test_a_damaged_checkpoint_is_detected_and_the_one_before_it_is_used(three, name, damage):
    damage(three / checkpoint_name(3) / name)
    search = find_checkpoint(three, Group())
    assert search.found.step == 2
    ((path, fault),) = search.passed_over
    assert path == three / checkpoint_name(3)
    assert name in fault
    assert_equal(Training().load(search.found).tensors, Training().walk(2).tensors)


def test_a_flipped_bit_is_detected_only_with_checksums(three):
    flip(three / checkpoint_name(3) / "__0_0.distcp")
    assert newest_valid(three).step == 3
    assert find_checkpoint(three, Group()).found.step == 2


def test_the_newest_is_by_step_and_not_by_time_and_a_wrong_name_is_detected(three):
    (three / checkpoint_name(1)).touch()
    assert newest_valid(three).step == 3
    shutil.copytree(three / checkpoint_name(1), three / checkpoint_name(9))
    search = find_checkpoint(three)
    assert search.found.step == 3
    assert search.passed_over == ((three / checkpoint_name(9), "its manifest is of step 1"),)


def test_no_checkpoint_is_found_before_the_first(tmp_path):
    assert newest_valid(tmp_path) is newest_valid(tmp_path / "nowhere") is None
    (tmp_path / f"{checkpoint_name(4)}.tmp-12345678").mkdir()
    assert find_checkpoint(tmp_path).passed_over == ()


def test_unfinished_saves_are_removed_and_invalid_checkpoints_renamed(three):
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
    return sorted(checkpoint.step for checkpoint in valid_checkpoints(folder))


def test_the_newest_the_best_and_the_pinned_are_kept(tmp_path):
    training = Training()
    for step, loss in enumerate([0.9, 0.2, 0.8, 0.1, None, 0.7, 0.6, 0.5], start=1):
        write(tmp_path, training.walk(step), val_loss=loss)
    (tmp_path / checkpoint_name(1) / PINNED).touch()
    deleted = prune(tmp_path, keep_last=2, keep_best=2, pin_every=3)
    assert steps(tmp_path) == [1, 2, 3, 4, 6, 7, 8]
    assert [path.name for path in deleted] == [checkpoint_name(5)]
    prune(tmp_path, keep_last=2, keep_best=0, pin_every=0)
    assert steps(tmp_path) == [1, 7, 8]


def test_at_least_two_valid_checkpoints_are_kept(three):
    truncate(three / checkpoint_name(3) / METADATA)
    prune(three, keep_last=0, keep_best=0, pin_every=0)
    assert steps(three) == [1, 2]


def test_a_checkpoint_of_this_format_stays_readable():
    found = find_checkpoint(GOLDEN / f"format_{FORMAT}", Group()).found
    assert_equal(Training().load(found).tensors, Training().walk(2).tensors)


def test_a_checkpoint_file_of_version_0_is_refused_with_its_version():
    with pytest.raises(
        CheckpointError, match=r"version 0, one file.*finish the stage with the release that started it"
    ):
        newest_valid(GOLDEN / "format_0")


def test_a_later_format_is_refused_and_not_skipped(three):
    (three / checkpoint_name(4)).mkdir()
    write_manifest(three / checkpoint_name(4), CheckpointManifest(4, 1, {}, {}, format=FORMAT + 1))
    with pytest.raises(CheckpointError, match=f"format {FORMAT + 1}"):
        find_checkpoint(three)
