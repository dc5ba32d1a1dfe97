import os

import pytest
from mlflow import MlflowClient

from audio_lm.tracking.config import TrackingConfig
from audio_lm.tracking.mlflow import worker
from audio_lm.tracking.mlflow.client import MlflowSync
from audio_lm.tracking.mlflow.store import MlflowStore, create_database
from audio_lm.tracking.mlflow.supervisor import ALL_SENT, SOME_LEFT
from audio_lm.tracking.mlflow.worker import Parent, SyncLockedError, sync_lock, sync_until_parent_ends
from audio_lm.tracking.run import open_recipe_run
from tests.tracking.forks import ended, forked

pytestmark = pytest.mark.usefixtures("sending_here")


class ParentOf:
    """A parent that is over after some looks, with or without a word."""

    def __init__(self, num_looks, lost=False):
        self.num_looks, self.lost, self.waited = num_looks, lost, []

    def is_over(self):
        self.num_looks -= 1
        return self.num_looks < 0

    def was_lost(self):
        return self.lost

    def wait(self, seconds):
        self.waited.append(seconds)


@pytest.fixture
def folder(uri, tmp_path):
    run = open_recipe_run(TrackingConfig(), name="digits", folder=tmp_path / "r", recipe_yaml="", params={})
    run.log_metrics({"wer": 0.5})
    return tmp_path / "r"


def status(uri):
    client = MlflowClient(uri)
    (experiment,) = client.search_experiments(filter_string="name = 'digits'")
    (run,) = client.search_runs([experiment.experiment_id])
    return run.info.status


def test_a_run_is_sent_to_its_end(folder, uri):
    parent = ParentOf(3)
    assert sync_until_parent_ends(MlflowSync(folder, uri, pytest.fail), parent) == ALL_SENT
    assert parent.waited == [worker.REST] * 3
    assert status(uri) == "RUNNING", "its end is the journal's to tell"


def test_a_parent_that_was_lost_leaves_a_killed_run(folder, uri):
    assert sync_until_parent_ends(MlflowSync(folder, uri, pytest.fail), ParentOf(0, lost=True)) == ALL_SENT
    assert status(uri) == "KILLED"


def test_a_store_that_is_away_is_asked_less_and_less_often_and_told_of_once(folder, uri, monkeypatch):
    answers = iter([ConnectionError("no route")] * 7 + [None] * 9)
    ours = MlflowStore.open_run

    def open_run(store, *arguments, **facts):
        if (error := next(answers)) is not None:
            raise error
        return ours(store, *arguments, **facts)

    monkeypatch.setattr(MlflowStore, "open_run", open_run)
    said, parent = [], ParentOf(9)
    assert sync_until_parent_ends(MlflowSync(folder, uri, said.append), parent) == ALL_SENT
    assert parent.waited[:8] == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, worker.REST]
    assert ["answer" in line for line in said] == [True, True]
    assert "does not answer (ConnectionError: no route)" in said[0]


def test_a_store_that_is_away_at_the_end_is_asked_once_more_and_not_waited_for(folder):
    said, parent = [], ParentOf(0)
    assert sync_until_parent_ends(MlflowSync(folder, "http://127.0.0.1:9", said.append), parent) == SOME_LEFT
    assert parent.waited == []


def test_one_process_at_a_time_sends_a_run(tmp_path):
    looks = iter([True, True, False])
    with (
        sync_lock(tmp_path),
        pytest.raises(SyncLockedError),
        sync_lock(tmp_path, is_patient=lambda: next(looks)),
    ):
        pytest.fail("two of them")
    assert list(looks) == []
    with sync_lock(tmp_path):
        pass


@pytest.mark.parametrize(("word", "is_lost"), [("finish\n", False), ("", True)])
def test_a_parent_says_goodbye_or_is_lost(word, is_lost, monkeypatch, tmp_path):
    (tmp_path / "in").write_text(word)
    with (tmp_path / "in").open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        parent = Parent(os.getppid())
        parent.wait(5)
    assert parent.is_over()
    assert parent.was_lost() == is_lost
    assert not parent.is_late()
    monkeypatch.setattr(worker, "LAST_SECONDS", -1.0)
    assert parent.is_late()


def test_a_parent_whose_pipe_somebody_else_holds_is_lost_all_the_same(monkeypatch):
    reading, writing = os.pipe()
    with os.fdopen(reading) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        parent = Parent(os.getppid() + 1)
        assert parent.is_over()
        assert parent.was_lost()
        os.close(writing)
        parent._is_told.wait(5)


def first_use(uri, number, folder):
    """What eight jobs do that are started at once."""
    until_all_are_here = folder / "here"
    (until_all_are_here / str(number)).touch()
    while len(list(until_all_are_here.iterdir())) < 8:
        os.sched_yield()
    store = MlflowStore(uri, "digits")
    run_id = store.open_run(None, journal=f"j{number}", name="r", tags={}, time_ms=1)
    store.close_run(run_id, "FINISHED", 2)


def eight_at_once(folder):
    (folder / "here").mkdir()
    children = [
        forked(lambda number=number: first_use(f"sqlite:///{folder}/new.db", number, folder))
        for number in range(8)
    ]
    return [ended(child) for child in children]


@pytest.mark.slow
def test_eight_processes_begin_on_a_new_database(tmp_path):
    assert eight_at_once(tmp_path) == [0] * 8
    client = MlflowClient(f"sqlite:///{tmp_path}/new.db")
    assert len(client.search_runs([client.get_experiment_by_name("digits").experiment_id])) == 8
    assert [path.name for path in tmp_path.iterdir() if "new.db" in path.name] == ["new.db"]


@pytest.mark.slow
def test_eight_processes_fail_where_each_makes_the_tables_in_place(tmp_path, monkeypatch):
    monkeypatch.setattr("audio_lm.tracking.mlflow.store.create_database", lambda path: path.touch())
    assert any(eight_at_once(tmp_path)), "the control"


def test_a_database_is_made_once(tmp_path):
    create_database(tmp_path / "new.db")
    before = (tmp_path / "new.db").stat()
    create_database(tmp_path / "new.db")
    assert (tmp_path / "new.db").stat().st_ino == before.st_ino
