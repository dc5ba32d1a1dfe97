import os

import pytest
from mlflow import MlflowClient

from audio_lm.tracking.config import TrackingConfig
from audio_lm.tracking.facts import RunFacts
from audio_lm.tracking.mlflow import worker
from audio_lm.tracking.mlflow.client import MlflowSync
from audio_lm.tracking.mlflow.store import MlflowStore, create_database
from audio_lm.tracking.mlflow.supervisor import ALL_SENT, SOME_LEFT
from audio_lm.tracking.mlflow.worker import Parent, SyncLockedError, sync_lock, sync_until_parent_ends
from audio_lm.tracking.run import open_recipe_run
from tests.tracking.forks import exit_code_of, forked

pytestmark = pytest.mark.usefixtures("in_process_sync")


class ParentOf:
    """Fake parent that has exit_code_of after some checks, with or without its message."""

    def __init__(self, num_checks, lost=False):
        self.num_checks, self.lost, self.pauses = num_checks, lost, []

    def is_over(self):
        self.num_checks -= 1
        return self.num_checks < 0

    def was_lost(self):
        return self.lost

    def wait(self, seconds):
        self.pauses.append(seconds)


@pytest.fixture
def folder(uri, tmp_path):
    run = open_recipe_run(
        TrackingConfig(),
        facts=RunFacts(recipe="digits"),
        folder=tmp_path / "r",
        recipe_yaml="",
        settings={"a": 1},
    )
    run.log_metrics({"wer": 0.5})
    return tmp_path / "r"


def status(uri):
    client = MlflowClient(uri)
    (experiment,) = client.search_experiments(filter_string="name = 'digits'")
    (run,) = client.search_runs([experiment.experiment_id])
    return run.info.status


def test_a_run_is_synced_until_its_parent_ends(folder, uri):
    parent = ParentOf(3)
    assert sync_until_parent_ends(MlflowSync(folder, uri, pytest.fail), parent) == ALL_SENT
    assert parent.pauses == [worker.INTERVAL] * 3
    assert status(uri) == "RUNNING", "the journal has no end event"


def test_the_run_of_a_lost_parent_is_killed(folder, uri):
    assert sync_until_parent_ends(MlflowSync(folder, uri, pytest.fail), ParentOf(0, lost=True)) == ALL_SENT
    assert status(uri) == "KILLED"


def test_an_unreachable_store_is_retried_with_growing_pauses_and_reported_once(folder, uri, monkeypatch):
    answers = iter([ConnectionError("no route")] * 7 + [None] * 9)
    ours = MlflowStore.open_run

    def open_run(store, *arguments, **facts):
        if (error := next(answers)) is not None:
            raise error
        return ours(store, *arguments, **facts)

    monkeypatch.setattr(MlflowStore, "open_run", open_run)
    messages, parent = [], ParentOf(9)
    assert sync_until_parent_ends(MlflowSync(folder, uri, messages.append), parent) == ALL_SENT
    assert parent.pauses[:8] == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, worker.INTERVAL]
    assert ["reachable" in message for message in messages] == [True, True]
    assert "is unreachable (ConnectionError: no route)" in messages[0]


def test_an_unreachable_store_is_tried_once_at_the_end_without_waiting(folder):
    messages, parent = [], ParentOf(0)
    assert (
        sync_until_parent_ends(MlflowSync(folder, "http://127.0.0.1:9", messages.append), parent) == SOME_LEFT
    )
    assert parent.pauses == []


def test_one_process_at_a_time_syncs_a_run(tmp_path):
    answers = iter([True, True, False])
    with (
        sync_lock(tmp_path),
        pytest.raises(SyncLockedError),
        sync_lock(tmp_path, is_patient=lambda: next(answers)),
    ):
        pytest.fail("two processes have the lock")
    assert list(answers) == []
    with sync_lock(tmp_path):
        pass


@pytest.mark.parametrize(("message", "is_lost"), [("finish\n", False), ("", True)])
def test_a_parent_that_ends_without_a_message_is_lost(message, is_lost, monkeypatch, tmp_path):
    (tmp_path / "in").write_text(message)
    with (tmp_path / "in").open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        parent = Parent(os.getppid())
        parent.wait(5)
    assert parent.is_over()
    assert parent.was_lost() == is_lost
    assert not parent.is_late()
    monkeypatch.setattr(worker, "LAST_SECONDS", -1.0)
    assert parent.is_late()


def test_a_parent_whose_pipe_is_still_open_elsewhere_is_lost(monkeypatch):
    reading, writing = os.pipe()
    with os.fdopen(reading) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        parent = Parent(os.getppid() + 1)
        assert parent.is_over()
        assert parent.was_lost()
        os.close(writing)
        parent._has_message.wait(5)


def first_use(uri, number, folder):
    """Use a new store for the first time, at the same time as seven other processes."""
    ready = folder / "ready"
    (ready / str(number)).touch()
    while len(list(ready.iterdir())) < 8:
        os.sched_yield()
    store = MlflowStore(uri, "digits")
    run_id = store.open_run(None, journal=f"j{number}", name="r", tags={}, time_ms=1)
    store.close_run(run_id, "FINISHED", 2)


def eight_at_once(folder):
    (folder / "ready").mkdir()
    children = [
        forked(lambda number=number: first_use(f"sqlite:///{folder}/new.db", number, folder))
        for number in range(8)
    ]
    return [exit_code_of(child) for child in children]


@pytest.mark.slow
def test_eight_processes_start_on_a_new_database(tmp_path):
    assert eight_at_once(tmp_path) == [0] * 8
    client = MlflowClient(f"sqlite:///{tmp_path}/new.db")
    assert len(client.search_runs([client.get_experiment_by_name("digits").experiment_id])) == 8
    assert [path.name for path in tmp_path.iterdir() if "new.db" in path.name] == ["new.db"]


@pytest.mark.slow
def test_eight_processes_fail_if_each_creates_the_tables_in_place(tmp_path, monkeypatch):
    monkeypatch.setattr("audio_lm.tracking.mlflow.store.create_database", lambda path: path.touch())
    assert any(eight_at_once(tmp_path)), "control case"


def test_a_database_is_created_once(tmp_path):
    create_database(tmp_path / "new.db")
    before = (tmp_path / "new.db").stat()
    create_database(tmp_path / "new.db")
    assert (tmp_path / "new.db").stat().st_ino == before.st_ino
