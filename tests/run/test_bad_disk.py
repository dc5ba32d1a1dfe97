"""Disks that are full, slow or read-only, and a store that is away: a run goes on as long as it may, and says why it ends."""

import json
import resource
import shutil
import threading
from pathlib import Path

import pytest
from lightning import Callback

from audio_lm.checkpoints import async_saver
from audio_lm.checkpoints import writer as writing
from audio_lm.checkpoints.discovery import checkpoint_name, find_checkpoint, valid_checkpoints
from audio_lm.checkpoints.process_group import Group
from audio_lm.fault_tolerance.lease import Lease
from audio_lm.tracking.event_log import journal
from tests.run.carried import checkpoints, command, equal_weights

pytestmark = pytest.mark.slow
BEHIND = "stages.pretrain.checkpoints.asynchronous=true"


class Full(Callback):
    """While steps last, no file of this process can be longer than a byte, which is how a full disk looks to it."""

    def __init__(self, steps, out, *, is_behind=False):
        self.steps, self.out = steps, out
        # What is written behind training may still be, when the disk is full.
        self.earliest = min(steps) - 1 - is_behind

    def on_train_batch_start(self, trainer, *_):
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        is_full = trainer.global_step + 1 in self.steps
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 if is_full else most, most))
        if trainer.global_step in self.steps:  # the step behind which nothing could be written
            newest = find_checkpoint(
                checkpoints(self.out), Group() if trainer.world_size == 1 else None
            ).found
            assert newest.step in (self.earliest, min(self.steps) - 1), "those before it are as they were"


@pytest.mark.parametrize("full", [(1,), (0, 1)], ids=["of one rank", "of all"])
def test_a_disk_that_is_full_for_two_steps_costs_their_checkpoints_and_lines_only(
    carried_recipe, undisturbed, tmp_path, full
):
    whole, out = undisturbed
    ended = command(
        carried_recipe, tmp_path, 2, fault=lambda number: [Full((3, 4), tmp_path)] if number in full else []
    )
    assert ended.codes == [0, 0], ended.said
    for number in (1, 2):
        assert (
            f"NOT saved ({number} in a row), previous ones untouched; training continues: rank {full[0]}"
            in ended.said
        )
    assert "(3 in a row)" not in ended.said
    assert ended.losses == whole.losses
    assert equal_weights(tmp_path, out)
    assert [one.step for one in valid_checkpoints(checkpoints(tmp_path))][:2] == [6, 5]
    rows = [
        json.loads(line) for line in (tmp_path / "stages/pretrain/metrics.jsonl").read_text().splitlines()
    ]
    logged = {row["step"] for row in rows if "train_loss/all" in row["values"]}
    dropped = {row["step"]: row["values"].get(journal.DROPPED, 0.0) for row in rows if row["values"]}
    assert logged == ({0, 1, 2, 3, 4, 5} if full == (1,) else {0, 1, 4, 5})
    assert (dropped[5] > 0) == (full == (0, 1))
    assert ("points were dropped, for the disk had no room" in ended.said) == (full == (0, 1))


@pytest.mark.parametrize("is_control", [False, True])
def test_a_disk_that_stays_full_stops_the_run_after_three_and_with_room_it_goes_on_bit_equal(
    carried_recipe, undisturbed, tmp_path, is_control
):
    def fill(number):
        if is_control:
            async_saver.MAX_FAILURES = 99
        return [Full(range(3, 99), tmp_path, is_behind=True)]

    ended = command(carried_recipe, tmp_path, 2, BEHIND, fault=fill)
    assert ended.codes == [2, 2], ended.said
    kept = next(one.step for one in valid_checkpoints(checkpoints(tmp_path)))
    assert kept in (1, 2)
    (last,) = ended.mistakes
    assert last.startswith(
        f"audio-lm: checkpoint NOT saved ({6 - kept + 1 if is_control else 3} in a row), previous ones untouched"
    )
    assert last.endswith("free space there, then continue with resume=auto")
    if is_control:
        assert max(ended.losses) == 6, "it would have gone on to its last step"
        return
    again = command(carried_recipe, tmp_path, 2, "resume=auto")
    assert f"continues from step {kept}, exact" in again.said
    whole, out = undisturbed
    assert ended.losses | again.losses == whole.losses
    assert equal_weights(tmp_path, out)


@pytest.mark.parametrize("is_control", [False, True])
def test_a_journal_that_is_full_to_the_end_costs_no_step_and_says_how_much_is_missing(
    carried_recipe, tmp_path, is_control
):
    def fill(number):
        write, so_far = journal.os.write, []

        def write_some(file_number, line):
            so_far.append(line)
            if len(so_far) > 12:
                raise OSError(28, "No space left on device")
            return write(file_number, line)

        class Os:
            def __getattr__(self, name):
                return write_some if name == "write" else getattr(os, name)

        import os

        journal.os = Os()
        if is_control:
            journal.JsonlWriter.append = lambda self, record: bool(
                write_some(self.file_number, json.dumps(record).encode())
            )

    ended = command(carried_recipe, tmp_path, 1, fault=fill)
    if is_control:
        assert (ended.code, max(ended.losses, default=0) < 6) == (2, True), "it would have died of it"
        return
    assert ended.code == 0, ended.said
    assert sorted(ended.losses) == [1, 2, 3, 4, 5, 6]
    assert "training goes on, what does not fit is counted and dropped" in ended.said
    assert "points were dropped, for the disk had no room" in ended.said
    assert next(one.step for one in valid_checkpoints(checkpoints(tmp_path))) == 6


@pytest.mark.parametrize("way", ["read-only", "a file"])
def test_what_goes_wrong_behind_training_is_told_at_the_next_save_and_ends_the_run_with_2(
    carried_recipe, tmp_path, way
):
    def make_unwritable(number):
        class Change(Callback):
            def on_train_batch_start(self, trainer, *_):
                if trainer.global_step == 1:
                    self.change()

            def change(self):
                if way == "a file":
                    checkpoints(tmp_path).parent.mkdir(parents=True, exist_ok=True)
                    checkpoints(tmp_path).touch()
                    return

                def refuse(*_, **__):
                    raise OSError(30, "Read-only file system", "checkpoints")

                writing.CheckpointWriter._open_partial = refuse

        return [Change()]

    ended = command(
        carried_recipe, tmp_path, 1, BEHIND, "stages.pretrain.checkpoint_every=4", fault=make_unwritable
    )
    why = "Read-only file system" if way == "read-only" else "File exists"
    assert f"NOT saved (1 in a row), previous ones untouched; training continues: rank 0: {why}" in ended.said
    assert (
        f"audio-lm: checkpoint NOT saved (2 in a row), previous ones untouched: rank 0: {why}" in ended.said
    )
    assert ended.code == 2
    assert sorted(ended.losses) == [1, 2, 3, 4, 5, 6], "the error was behind training, not in it"


@pytest.mark.parametrize("behind", [True, False])
def test_steps_go_on_while_a_slow_disk_writes_and_otherwise_would_not(carried_recipe, tmp_path, behind):
    """Counted: the writer of step 3 ends when step 5 has been, or gives up waiting for it."""
    seen = tmp_path / "seen.json"

    def be_slow(number):
        step, has_come = [0], threading.Event()
        write = writing.CheckpointWriter.write

        class Count(Callback):
            def on_train_batch_start(self, trainer, *_):
                step[0] = trainer.global_step
                if step[0] == 5:
                    has_come.set()

        def write_slowly(self, tensors, **what):
            if what["step"] == 3:
                has_come.wait(60 if behind else 0.2)
                seen.write_text(json.dumps(step[0]))
            return write(self, tensors, **what)

        writing.CheckpointWriter.write = write_slowly
        return [Count()]

    how = ["stages.pretrain.checkpoint_every=3", f"stages.pretrain.checkpoints.asynchronous={behind}".lower()]
    ended = command(carried_recipe, tmp_path / "run", 1, *how, fault=be_slow)
    assert ended.code == 0, ended.said
    assert json.loads(seen.read_text()) == (5 if behind else 2)
    assert [one.step for one in valid_checkpoints(checkpoints(tmp_path / "run"))] == [6, 3]


@pytest.mark.parametrize("is_control", [False, True])
def test_of_two_starts_of_a_run_the_older_one_ends_before_it_renames(
    carried_recipe, undisturbed, tmp_path, is_control
):
    """The older one freezes before it saves step 3, is thought dead, and thaws when the newer one has ended."""
    out, is_frozen, go = tmp_path / "run", tmp_path / "is_frozen", tmp_path / "go"

    def freeze(number):
        write, move = writing.CheckpointWriter.write, writing.CheckpointWriter._rename

        def write_later(self, tensors, **what):
            if what["step"] == 3:
                is_frozen.touch()
                _until(go.exists)
            return write(self, tensors, **what)

        def move_and_tell(self, beside, final):
            move(self, beside, final)
            (tmp_path / f"moved-{final.name}").touch()

        writing.CheckpointWriter.write, writing.CheckpointWriter._rename = write_later, move_and_tell
        if is_control:
            Lease.check = lambda self: None

    older = []
    thread = threading.Thread(target=lambda: older.append(command(carried_recipe, out, 1, fault=freeze)))
    thread.start()
    _until(is_frozen.exists)
    newer = command(carried_recipe, out, 1, "resume=auto")
    assert newer.code == 0, newer.said
    shutil.copytree(out, tmp_path / "left")
    go.touch()
    thread.join()
    (ended,) = older
    assert (tmp_path / f"moved-{checkpoint_name(3)}").exists() == is_control
    if is_control:
        return
    assert ended.code == 2
    assert "a newer start of this run writes here" in ended.said
    assert _files(out) == _files(tmp_path / "left")
    assert [one.step for one in valid_checkpoints(checkpoints(out))][:2] == [6, 5]


def test_a_store_that_is_away_from_beginning_to_end_changes_no_bit(carried_recipe, undisturbed, tmp_path):
    whole, out = undisturbed
    address = "tracking.uri=http://127.0.0.1:9"
    ended = command(carried_recipe, tmp_path, 2, address, is_sent=True)
    assert ended.codes == [0, 0], ended.said
    assert "audio-lm track sync" in ended.said, "it was tried"
    assert ended.losses == whole.losses
    assert equal_weights(tmp_path, out)
    journals = [folder / "stages" / "pretrain" / "metrics.jsonl" for folder in (tmp_path, out)]
    ours, theirs = ([json.loads(line) for line in path.read_text().splitlines()] for path in journals)
    assert [row["step"] for row in ours] == [row["step"] for row in theirs], "the journal is complete"


def _until(is_so):
    waiting = threading.Event()
    for _ in range(1200):
        if is_so():
            return
        waiting.wait(0.1)
    raise AssertionError("it did not come to that in two minutes")


def _files(folder: Path):
    """All that lies there, and all that is in it, less the pulses of ranks."""
    files = [path for path in folder.rglob("*") if path.is_file() and "heartbeats" not in path.parts]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
