"""A save that is killed, or fails, at every place: what was there before it still holds, and goes on bit for bit."""

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
    """Killed when a function is called."""

    def patch():
        owner, name = function
        setattr(owner, name, die)

    return patch


def half_a_shard():
    """Killed when the third value is written; what was written of the file is on the disk."""
    write_item, written = filesystem._write_item, []

    def kill_at_the_third(transforms, stream, *rest):
        result = write_item(transforms, stream, *rest)
        written.append(1)
        if len(written) == 3:
            stream.flush()
            die()
        return result

    filesystem._write_item = kill_at_the_third


def behind_the_rename():
    sync = writer.sync_folder
    calls = []

    def kill_at_the_parent(folder):
        calls.append(folder)
        if len(calls) == 2:
            die()
        sync(folder)

    writer.sync_folder = kill_at_the_parent


def when_the_first_is_waited_for(number):
    """Killed when this rank waits for the first one, for the so-manieth time in its second save."""

    def patch():
        first, calls = CheckpointWriter._first, []

        def kill_at(self, work):
            calls.append(work)
            if len(calls) == number:
                die()
            return first(self, work)

        CheckpointWriter._first = kill_at

    return patch


PHASES = {
    "before the shard": before((CheckpointWriter, "_shards")),
    "half a shard": half_a_shard,
    "behind the shard": before((CheckpointWriter, "_own_seals")),
    "before the manifest": before((writer, "write_manifest")),
    "before the rename": before((CheckpointWriter, "_moved")),
    "behind the rename": behind_the_rename,
}
OF_ONE_THAT_WAITS = {
    "while the manifest is written": when_the_first_is_waited_for(2),
    "while it is renamed": when_the_first_is_waited_for(3),
}


def killed(folder, phase, victim, count):
    """Step 2 is saved; saving step 4 kills a rank."""

    def work(number):
        training = Training()
        store = CheckpointWriter(folder, Group())
        write(folder, training.walk(2), store=store)
        if number == victim:
            (PHASES | OF_ONE_THAT_WAITS)[phase]()
        write(folder, training.walk(4), store=store)

    on_ranks(count, together(work), may_die=True)


def assert_goes_on(folder, phase):
    looked = find_checkpoint(folder, Group())
    assert looked.found.step == (4 if phase in ("behind the rename", "while it is renamed") else 2), looked
    remove_unfinished(folder, looked.passed_over)
    assert [path.name for path in folder.iterdir() if "." in path.name] == []
    again = Training().load(looked.found).walk(6)
    assert_equal(again.tensors, Training().walk(6).tensors)
    write(folder, again)
    assert newest_valid(folder).step == 6


@pytest.mark.parametrize("phase", PHASES)
def test_a_kill_in_a_save_leaves_the_one_before_it(tmp_path, phase):
    killed(tmp_path, phase, victim=0, count=1)
    assert_goes_on(tmp_path, phase)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phase", "victim"),
    [(phase, 0) for phase in PHASES] + [(phase, 1) for phase in [*[*PHASES][:3], *OF_ONE_THAT_WAITS]],
)
def test_a_kill_of_one_of_two_ranks_in_a_save_leaves_the_one_before_it(tmp_path, phase, victim):
    killed(tmp_path, phase, victim, count=2)
    assert_goes_on(tmp_path, phase)


def test_the_stock_save_in_place_mixes_two_steps_when_it_is_killed(tmp_path):
    """The control of the tests above."""

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
    from_which = {
        2 if torch.equal(value, two[name]) else 4 if torch.equal(value, four[name]) else 0
        for name, value in mixed.items()
        if not torch.equal(two[name], four[name])
    }
    assert from_which == {2, 4}


def full_disk(*, is_full):
    """No file of this process can be longer than a few bytes, which is how a full disk looks to it."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000 if is_full else most, most))


@pytest.mark.parametrize("full", [(1,), (0, 1)])
def test_a_disk_that_is_full_for_one_rank_is_known_to_all_and_nothing_is_lost(tmp_path, full):
    def work(number):
        training, store, said = Training(), CheckpointWriter(tmp_path, Group()), []
        write(tmp_path, training.walk(2), store=store)
        for step in (4, 6):
            full_disk(is_full=step == 4 and number in full)
            try:
                write(tmp_path, training.walk(step), store=store)
            except SaveFailed as error:
                said.append(str(error))
                assert newest_valid(tmp_path).step == 2
        return said

    one, other = on_ranks(2, together(work))
    assert one == other
    (said,) = one
    assert f"rank {full[0]}: " in said
    assert sorted(path.name for path in tmp_path.iterdir()) == [checkpoint_name(2), checkpoint_name(6)]
    assert_equal(
        Training().load(find_checkpoint(tmp_path, Group()).found).tensors, Training().walk(6).tensors
    )


def test_room_for_one_more_is_looked_for_first(tmp_path, monkeypatch):
    first = write(tmp_path, Training().walk(1))
    free = type("Usage", (), {"free": 1.1 * first.manifest.num_bytes})
    monkeypatch.setattr(writer.shutil, "disk_usage", lambda _: free)
    with pytest.raises(SaveFailed, match=r"MB are free, and .* MB are wanted"):
        write(tmp_path, Training().walk(2))
    free.free = 1.3 * first.manifest.num_bytes
    assert write(tmp_path, Training().walk(2)).step == 2


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SaveFailed, match="rank 0: Not a directory"):
        write(tmp_path / "file" / "checkpoints", Training().walk(1))


def test_an_error_of_the_disk_is_a_sentence_and_leaves_no_half(tmp_path, monkeypatch):
    def broken(*_):
        raise OSError(5, "Input/output error", "__0_0.distcp")

    monkeypatch.setattr(filesystem.os, "fsync", broken)
    with pytest.raises(SaveFailed, match=r"rank 0: Input/output error \(__0_0.distcp\)"):
        write(tmp_path, Training().walk(1))
    assert list(tmp_path.iterdir()) == []


def test_a_description_that_reads_back_as_something_else_is_no_checkpoint(tmp_path, monkeypatch):
    def refuse(path, manifest=None):
        raise CheckpointError("it is damaged")

    monkeypatch.setattr(writer, "metadata_of", refuse)
    with pytest.raises(CheckpointError, match="it is damaged"):
        write(tmp_path, Training().walk(1))
    assert list(tmp_path.iterdir()) == []


def test_a_step_that_is_there_is_taken_and_never_written_over(tmp_path):
    first = write(tmp_path, Training().walk(1))
    when = first.path.stat().st_mtime_ns
    assert write(tmp_path, Training().walk(1)) == first
    assert first.path.stat().st_mtime_ns == when


def test_an_older_generation_stops_before_it_renames(tmp_path):
    """Two writers alive: whoever lost the run asks right before the rename, and leaves nothing."""
    owner = ["old"]

    def may_rename_for(name):
        def check():
            if owner[0] != name:
                raise UserError(f"the run belongs to {owner[0]} now")

        return check

    old = CheckpointWriter(tmp_path, Group(), may_rename=may_rename_for("old"))
    new = CheckpointWriter(tmp_path, Group(), may_rename=may_rename_for("new"))
    write(tmp_path, Training().walk(1), store=old)
    at_rename, taken = threading.Event(), threading.Event()
    check = old.may_rename

    def slowly():
        at_rename.set()
        taken.wait(30)
        check()

    old.may_rename = slowly
    refused = []

    def older():
        with pytest.raises(UserError, match="the run belongs to new now"):
            write(tmp_path, Training().walk(3), store=old)
        refused.append(True)

    thread = threading.Thread(target=older)
    thread.start()
    assert at_rename.wait(30)
    owner[0] = "new"
    write(tmp_path, Training().walk(2), store=new)
    taken.set()
    thread.join()
    assert refused
    assert sorted(path.name for path in tmp_path.iterdir()) == [checkpoint_name(1), checkpoint_name(2)]


def test_both_ranks_stop_when_the_first_may_not_rename_or_fails_in_any_other_way(tmp_path):
    class FencedError(Exception):
        pass

    def refuse():
        raise FencedError("a newer start writes here")

    def work(number):
        store = CheckpointWriter(tmp_path, Group(), may_rename=refuse)
        try:
            write(tmp_path, Training().walk(1), store=store)
        except Exception as error:
            return type(error).__name__, str(error)

    first, second = on_ranks(2, together(work))
    assert first == ("FencedError", "a newer start writes here")
    assert second == ("CheckpointError", "a newer start writes here")
    assert list(tmp_path.iterdir()) == []
