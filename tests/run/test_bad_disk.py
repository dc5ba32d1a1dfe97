"""Full, slow and read-only disks, and an MLflow store that is down: training continues if it can, or ends with a reason."""

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
from tests.run.observed_run import checkpoints, equal_weights, run_command

pytestmark = pytest.mark.slow
ASYNCHRONOUS = "stages.pretrain.checkpoints.asynchronous=true"


class FullDisk(Callback):
    """Emulates a full disk during some steps: no file of this process can grow beyond a byte."""

    def __init__(self, steps, out, *, is_asynchronous=False):
        self.steps, self.out = steps, out
        # An asynchronous save may still be in progress when the disk fills.
        self.earliest = min(steps) - 1 - is_asynchronous

    def on_train_batch_start(self, trainer, *_):
        _, unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
        is_full = trainer.global_step + 1 in self.steps
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 if is_full else unlimited, unlimited))
        if trainer.global_step in self.steps:  # the first step after which nothing could be written
            newest = find_checkpoint(
                checkpoints(self.out), Group() if trainer.world_size == 1 else None
            ).found
            assert newest.step in (self.earliest, min(self.steps) - 1), "earlier checkpoints are intact"


@pytest.mark.parametrize("full", [(1,), (0, 1)], ids=["of one rank", "of all"])
def test_a_disk_that_is_full_for_two_steps_costs_their_checkpoints_and_lines_only(
    observed_recipe, undisturbed, tmp_path, full
):
    whole, out = undisturbed
    attempt = run_command(
        observed_recipe,
        tmp_path,
        2,
        fault=lambda number: [FullDisk((3, 4), tmp_path)] if number in full else [],
    )
    assert attempt.codes == [0, 0], attempt.output
    for number in (1, 2):
        assert (
            f"NOT saved ({number} in a row), previous ones untouched; training continues: rank {full[0]}"
            in attempt.output
        )
    assert "(3 in a row)" not in attempt.output
    assert attempt.losses == whole.losses
    assert equal_weights(tmp_path, out)
    assert [checkpoint.step for checkpoint in valid_checkpoints(checkpoints(tmp_path))][:2] == [6, 5]
    rows = [
        json.loads(line) for line in (tmp_path / "stages/pretrain/metrics.jsonl").read_text().splitlines()
    ]
    logged = {row["step"] for row in rows if "train_loss/all" in row["values"]}
    dropped = {row["step"]: row["values"].get(journal.DROPPED, 0.0) for row in rows if row["values"]}
    assert logged == ({0, 1, 2, 3, 4, 5} if full == (1,) else {0, 1, 4, 5})
    assert (dropped[5] > 0) == (full == (0, 1))
    assert ("points were dropped, since the disk was full" in attempt.output) == (full == (0, 1))


@pytest.mark.parametrize("is_control", [False, True])
def test_a_disk_that_stays_full_stops_the_run_after_three_saves_and_it_resumes_bit_equal(
    observed_recipe, undisturbed, tmp_path, is_control
):
    def fill(number):
        if is_control:
            async_saver.MAX_FAILURES = 99
        return [FullDisk(range(3, 99), tmp_path, is_asynchronous=True)]

    attempt = run_command(observed_recipe, tmp_path, 2, ASYNCHRONOUS, fault=fill)
    assert attempt.codes == [2, 2], attempt.output
    newest = next(checkpoint.step for checkpoint in valid_checkpoints(checkpoints(tmp_path)))
    assert newest in (1, 2)
    assert len(attempt.errors) == 1, attempt.errors
    (last,) = attempt.errors
    assert last.startswith(
        f"audio-lm: checkpoint NOT saved ({6 - newest + 1 if is_control else 3} in a row), previous ones untouched"
    )
    assert last.endswith("free space there, then continue with resume=auto")
    if is_control:
        assert max(attempt.losses) == 6, "it would have trained to its last step"
        return
    again = run_command(observed_recipe, tmp_path, 2, "resume=auto")
    assert f"continues from step {newest}, exact" in again.output
    whole, out = undisturbed
    assert attempt.losses | again.losses == whole.losses
    assert equal_weights(tmp_path, out)


@pytest.mark.parametrize("is_control", [False, True])
def test_a_journal_on_a_full_disk_costs_no_step_and_the_missing_points_are_reported(
    observed_recipe, tmp_path, is_control
):
    def fill(number):
        write, lines = journal.os.write, []

        def write_some(file_number, line):
            lines.append(line)
            if len(lines) > 12:
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

    attempt = run_command(observed_recipe, tmp_path, 1, fault=fill)
    if is_control:
        assert (attempt.code, max(attempt.losses, default=0) < 6) == (2, True), (
            "it would have ended with the error"
        )
        return
    assert attempt.code == 0, attempt.output
    assert sorted(attempt.losses) == [1, 2, 3, 4, 5, 6]
    assert "training continues, lines that do not fit are counted and dropped" in attempt.output
    assert "points were dropped, since the disk was full" in attempt.output
    assert next(checkpoint.step for checkpoint in valid_checkpoints(checkpoints(tmp_path))) == 6


@pytest.mark.parametrize("way", ["read-only", "a file"])
def test_an_error_of_an_asynchronous_save_is_reported_at_the_next_save_and_ends_the_run_with_2(
    observed_recipe, tmp_path, way
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

    attempt = run_command(
        observed_recipe,
        tmp_path,
        1,
        ASYNCHRONOUS,
        "stages.pretrain.checkpoint_every=4",
        fault=make_unwritable,
    )
    reason = "Read-only file system" if way == "read-only" else "File exists"
    assert (
        f"NOT saved (1 in a row), previous ones untouched; training continues: rank 0: {reason}"
        in attempt.output
    )
    assert (
        f"audio-lm: checkpoint NOT saved (2 in a row), previous ones untouched: rank 0: {reason}"
        in attempt.output
    )
    assert attempt.code == 2
    assert sorted(attempt.losses) == [1, 2, 3, 4, 5, 6], "the error was in the save, not in a step"


@pytest.mark.parametrize("is_asynchronous", [True, False])
def test_training_continues_during_a_slow_asynchronous_save_and_waits_for_a_synchronous_one(
    observed_recipe, tmp_path, is_asynchronous
):
    """Counted: the save of step 3 ends after step 5, or stops waiting for it."""
    last_step = tmp_path / "last_step.json"

    def write_late(number):
        step, is_reached = [0], threading.Event()
        write = writing.CheckpointWriter.write

        class Count(Callback):
            def on_train_batch_start(self, trainer, *_):
                step[0] = trainer.global_step
                if step[0] == 5:
                    is_reached.set()

        def write_slowly(self, tensors, **what):
            if what["step"] == 3:
                is_reached.wait(60 if is_asynchronous else 0.2)
                last_step.write_text(json.dumps(step[0]))
            return write(self, tensors, **what)

        writing.CheckpointWriter.write = write_slowly
        return [Count()]

    overrides = [
        "stages.pretrain.checkpoint_every=3",
        f"stages.pretrain.checkpoints.asynchronous={is_asynchronous}".lower(),
    ]
    attempt = run_command(observed_recipe, tmp_path / "run", 1, *overrides, fault=write_late)
    assert attempt.code == 0, attempt.output
    assert json.loads(last_step.read_text()) == (5 if is_asynchronous else 2)
    assert [checkpoint.step for checkpoint in valid_checkpoints(checkpoints(tmp_path / "run"))] == [6, 3]


@pytest.mark.parametrize("is_control", [False, True])
def test_of_two_starts_of_a_run_the_older_one_ends_before_it_renames(
    observed_recipe, undisturbed, tmp_path, is_control
):
    """The older one hangs before it saves step 3, and continues after the newer one has ended."""
    out, is_hanging, go = tmp_path / "run", tmp_path / "is_hanging", tmp_path / "go"

    def hang(number):
        write, move = writing.CheckpointWriter.write, writing.CheckpointWriter._rename

        def write_later(self, tensors, **what):
            if what["step"] == 3:
                is_hanging.touch()
                _wait_until(go.exists)
            return write(self, tensors, **what)

        def move_and_mark(self, partial, final):
            move(self, partial, final)
            (tmp_path / f"moved-{final.name}").touch()

        writing.CheckpointWriter.write, writing.CheckpointWriter._rename = write_later, move_and_mark
        if is_control:
            Lease.check = lambda self: None

    older = []
    thread = threading.Thread(target=lambda: older.append(run_command(observed_recipe, out, 1, fault=hang)))
    thread.start()
    _wait_until(is_hanging.exists)
    newer = run_command(observed_recipe, out, 1, "resume=auto")
    assert newer.code == 0, newer.output
    shutil.copytree(out, tmp_path / "left")
    go.touch()
    thread.join()
    (attempt,) = older
    assert (tmp_path / f"moved-{checkpoint_name(3)}").exists() == is_control
    if is_control:
        return
    assert attempt.code == 2
    assert "a newer start of this run writes here" in attempt.output
    assert _files(out) == _files(tmp_path / "left")
    assert [checkpoint.step for checkpoint in valid_checkpoints(checkpoints(out))][:2] == [6, 5]


def test_a_store_that_is_down_during_the_whole_run_changes_no_bit(observed_recipe, undisturbed, tmp_path):
    whole, out = undisturbed
    uri = "tracking.uri=http://127.0.0.1:9"
    attempt = run_command(observed_recipe, tmp_path, 2, uri, is_synced=True)
    assert attempt.codes == [0, 0], attempt.output
    assert "audio-lm track sync" in attempt.output, "a sync was tried"
    assert attempt.losses == whole.losses
    assert equal_weights(tmp_path, out)
    journals = [folder / "stages" / "pretrain" / "metrics.jsonl" for folder in (tmp_path, out)]
    ours, theirs = ([json.loads(line) for line in path.read_text().splitlines()] for path in journals)
    assert [row["step"] for row in ours] == [row["step"] for row in theirs], "the journal is complete"


def _wait_until(is_true):
    waiting = threading.Event()
    for _ in range(1200):
        if is_true():
            return
        waiting.wait(0.1)
    raise AssertionError("the condition is not true after two minutes")


def _files(folder: Path):
    """Content of all files in a folder, without heartbeats."""
    files = [path for path in folder.rglob("*") if path.is_file() and "heartbeats" not in path.parts]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
