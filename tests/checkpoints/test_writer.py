"""Saves that are killed, or fail, at every place: older checkpoints stay valid, and training resumes bit for bit."""

import os
import resource
import signal
import threading

import pytest
import torch
from torch.distributed.checkpoint import filesystem
from torch.distributed.checkpoint.state_dict_loader import load as stock_load
from torch.distributed.checkpoint.state_dict_saver import save as stock_save

from audio_lm.checkpoints import writer
from audio_lm.checkpoints.discovery import checkpoint_name, find_checkpoint, newest_valid, remove_unfinished
from audio_lm.checkpoints.process_group import Group
from audio_lm.checkpoints.writer import CheckpointWriter, SaveFailed
from audio_lm.common.errors import CheckpointError, UserError
from tests.checkpoints.tiny import Training, assert_equal, write
from tests.forked import on_ranks, together


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def before(function):
    """Kill at the call of a function."""

    def patch():
        owner, name = function
        setattr(owner, name, die)

    return patch


def half_a_shard():
    """Kill after the third value of a shard is written and flushed."""
    write_item, calls = filesystem._write_item, []

    def kill_at_the_third(transforms, stream, *rest):
        result = write_item(transforms, stream, *rest)
        calls.append(1)
        if len(calls) == 3:
            stream.flush()
            die()
        return result

    filesystem._write_item = kill_at_the_third


def after_the_rename():
    sync = writer.sync_folder
    calls = []

    def kill_at_the_parent(folder):
        calls.append(folder)
        if len(calls) == 2:
            die()
        sync(folder)

    writer.sync_folder = kill_at_the_parent


def while_waiting_for_the_first_rank(number):
    """Kill this rank in its n-th wait for the first rank."""

    def patch():
        on_first_rank, calls = CheckpointWriter._on_first_rank, []

        def kill_at(self, work):
            calls.append(work)
            if len(calls) == number:
                die()
            return on_first_rank(self, work)

        CheckpointWriter._on_first_rank = kill_at

    return patch


PHASES = {
    "before the shard": before((CheckpointWriter, "_write_shards")),
    "half a shard": half_a_shard,
    "after the shard": before((CheckpointWriter, "_seal_shards")),
    "before the manifest": before((writer, "write_manifest")),
    "before the rename": before((CheckpointWriter, "_rename")),
    "after the rename": after_the_rename,
}
PHASES_OF_OTHER_RANKS = {
    "while the manifest is written": while_waiting_for_the_first_rank(2),
    "while it is renamed": while_waiting_for_the_first_rank(3),
}


def save_and_kill(folder, phase, victim, count):
    """Save step 2; kill a rank while it saves step 4."""

    def work(number):
        training = Training()
        writer = CheckpointWriter(folder, Group())
        write(folder, training.walk(2), writer=writer)
        if number == victim:
            (PHASES | PHASES_OF_OTHER_RANKS)[phase]()
        write(folder, training.walk(4), writer=writer)

    on_ranks(count, together(work), may_die=True)


def assert_resumes(folder, phase):
    search = find_checkpoint(folder, Group())
    assert search.found.step == (4 if phase in ("after the rename", "while it is renamed") else 2), search
    remove_unfinished(folder, search.passed_over)
    assert [path.name for path in folder.iterdir() if "." in path.name] == []
    resumed = Training().load(search.found).walk(6)
    assert_equal(resumed.tensors, Training().walk(6).tensors)
    write(folder, resumed)
    assert newest_valid(folder).step == 6


@pytest.mark.parametrize("phase", PHASES)
def test_a_kill_during_a_save_keeps_the_checkpoint_before(tmp_path, phase):
    save_and_kill(tmp_path, phase, victim=0, count=1)
    assert_resumes(tmp_path, phase)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phase", "victim"),
    [(phase, 0) for phase in PHASES] + [(phase, 1) for phase in [*[*PHASES][:3], *PHASES_OF_OTHER_RANKS]],
)
def test_a_kill_of_one_of_two_ranks_during_a_save_keeps_the_checkpoint_before(tmp_path, phase, victim):
    save_and_kill(tmp_path, phase, victim, count=2)
    assert_resumes(tmp_path, phase)


def test_a_killed_save_of_torch_in_place_mixes_two_steps(tmp_path):
    """Control for the tests above."""

    def work(number):
        group, training = Group(), Training()
        for step in (2, 4):
            if (step, number) == (4, 1):
                filesystem.FileSystemWriter.write_data = die
            stock_save(
                training.walk(step).tensors,
                checkpoint_id=tmp_path / "last",
                process_group=group.process_group,
            )

    on_ranks(2, together(work), may_die=True)
    mixed = Training().walk(1).copied
    stock_load(mixed, checkpoint_id=tmp_path / "last")
    two, four = Training().walk(2).copied, Training().walk(4).copied
    steps = {
        2 if torch.equal(value, two[name]) else 4 if torch.equal(value, four[name]) else 0
        for name, value in mixed.items()
        if not torch.equal(two[name], four[name])
    }
    assert steps == {2, 4}


def full_disk(*, is_full):
    """Limit the size of files of this process, which has the effect of a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, maximum = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000 if is_full else maximum, maximum))


@pytest.mark.parametrize("full", [(1,), (0, 1)])
def test_all_ranks_report_a_full_disk_of_one_rank_and_nothing_is_lost(tmp_path, full):
    def work(number):
        training, writer, errors = Training(), CheckpointWriter(tmp_path, Group()), []
        write(tmp_path, training.walk(2), writer=writer)
        for step in (4, 6):
            full_disk(is_full=step == 4 and number in full)
            try:
                write(tmp_path, training.walk(step), writer=writer)
            except SaveFailed as error:
                errors.append(str(error))
                assert newest_valid(tmp_path).step == 2
        return errors

    first, second = on_ranks(2, together(work))
    assert first == second
    (error,) = first
    assert f"rank {full[0]}: " in error
    assert sorted(path.name for path in tmp_path.iterdir()) == [checkpoint_name(2), checkpoint_name(6)]
    assert_equal(
        Training().load(find_checkpoint(tmp_path, Group()).found).tensors, Training().walk(6).tensors
    )


def test_free_space_is_checked_before_a_save(tmp_path, monkeypatch):
    first = write(tmp_path, Training().walk(1))
    free = type("Usage", (), {"free": 1.1 * first.manifest.num_bytes})
    monkeypatch.setattr(writer.shutil, "disk_usage", lambda _: free)
    with pytest.raises(SaveFailed, match=r"MB are free, and .* MB are needed"):
        write(tmp_path, Training().walk(2))
    free.free = 1.3 * first.manifest.num_bytes
    assert write(tmp_path, Training().walk(2)).step == 2


def test_an_unwritable_folder_is_reported_with_the_rank(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SaveFailed, match="rank 0: Not a directory"):
        write(tmp_path / "file" / "checkpoints", Training().walk(1))


def test_a_disk_error_is_reported_with_the_file_and_leaves_no_partial_folder(tmp_path, monkeypatch):
    def broken(*_):
        raise OSError(5, "Input/output error", "__0_0.distcp")

    monkeypatch.setattr(filesystem.os, "fsync", broken)
    with pytest.raises(SaveFailed, match=r"rank 0: Input/output error \(__0_0.distcp\)"):
        write(tmp_path, Training().walk(1))
    assert list(tmp_path.iterdir()) == []


def test_metadata_that_cannot_be_read_back_fails_the_save(tmp_path, monkeypatch):
    def refuse(path, manifest=None):
        raise CheckpointError("it is damaged")

    monkeypatch.setattr(writer, "metadata_of", refuse)
    with pytest.raises(CheckpointError, match="it is damaged"):
        write(tmp_path, Training().walk(1))
    assert list(tmp_path.iterdir()) == []


def test_an_existing_checkpoint_is_returned_and_never_overwritten(tmp_path):
    first = write(tmp_path, Training().walk(1))
    modified = first.path.stat().st_mtime_ns
    assert write(tmp_path, Training().walk(1)) == first
    assert first.path.stat().st_mtime_ns == modified


def test_an_older_generation_stops_before_it_renames(tmp_path):
    """Two live writers: the older one checks the lease right before the rename, and leaves no files."""
    owner = ["old"]

    def may_rename_for(name):
        def check():
            if owner[0] != name:
                raise UserError(f"the run belongs to {owner[0]} now")

        return check

    old = CheckpointWriter(tmp_path, Group(), may_rename=may_rename_for("old"))
    new = CheckpointWriter(tmp_path, Group(), may_rename=may_rename_for("new"))
    write(tmp_path, Training().walk(1), writer=old)
    at_rename, has_renamed = threading.Event(), threading.Event()
    check = old.may_rename

    def check_late():
        at_rename.set()
        has_renamed.wait(30)
        check()

    old.may_rename = check_late
    refused = []

    def older():
        with pytest.raises(UserError, match="the run belongs to new now"):
            write(tmp_path, Training().walk(3), writer=old)
        refused.append(True)

    thread = threading.Thread(target=older)
    thread.start()
    assert at_rename.wait(30)
    owner[0] = "new"
    write(tmp_path, Training().walk(2), writer=new)
    has_renamed.set()
    thread.join()
    assert refused
    assert sorted(path.name for path in tmp_path.iterdir()) == [checkpoint_name(1), checkpoint_name(2)]


def test_both_ranks_stop_if_the_first_may_not_rename(tmp_path):
    class FencedError(Exception):
        pass

    def refuse():
        raise FencedError("a newer start writes here")

    def work(number):
        writer = CheckpointWriter(tmp_path, Group(), may_rename=refuse)
        try:
            write(tmp_path, Training().walk(1), writer=writer)
        except Exception as error:
            return type(error).__name__, str(error)

    first, second = on_ranks(2, together(work))
    assert first == ("FencedError", "a newer start writes here")
    assert second == ("CheckpointError", "a newer start writes here")
    assert list(tmp_path.iterdir()) == []
