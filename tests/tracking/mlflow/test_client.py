import json
import os
import random
import shutil
import signal
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED

from audio_lm.tracking.config import TrackingConfig
from audio_lm.tracking.facts import RunFacts
from audio_lm.tracking.mlflow.client import MAX_ATTEMPTS, MlflowSync
from audio_lm.tracking.mlflow.state import SyncState
from audio_lm.tracking.mlflow.store import MlflowException, MlflowStore
from audio_lm.tracking.run import open_recipe_run
from tests.forked import killed_after
from tests.tracking.forks import exit_code_of, forked

NUM_STEPS = 400
pytestmark = pytest.mark.usefixtures("in_process_sync")


@pytest.fixture
def folder(uri, tmp_path):
    """Folder of a run with 400 steps and a table, of which nothing is sent yet."""
    run = open_recipe_run(
        TrackingConfig(),
        facts=RunFacts(recipe="digits"),
        folder=tmp_path / "r",
        recipe_yaml="",
        settings={"a": 1},
    )
    logger = run.stage("pretrain")
    for step in range(1, NUM_STEPS + 1):
        logger.log_metrics({"loss": float(step), "norm": 1.0}, step)
    logger.log_table([{"id": "a"}], "eval/asr.json")
    run.end_stage("pretrain")
    run.close("FINISHED")
    return tmp_path / "r"


def stage_run(client):
    (experiment,) = client.search_experiments(filter_string="name = 'digits'")
    (run,) = client.search_runs([experiment.experiment_id], "tags.kind = 'stage'")
    return run


def steps(client, name="loss"):
    return [point.step for point in client.get_metric_history(stage_run(client).info.run_id, name)]


def test_sending_all_data_again_adds_nothing(folder, uri, client):
    for _ in range(2):
        MlflowSync(folder, uri, pytest.fail).send_new()
        (folder / "tracking.sent").unlink()
    assert steps(client) == list(range(1, NUM_STEPS + 1))
    assert stage_run(client).info.status == "FINISHED"


@pytest.mark.slow
def test_a_sync_killed_at_any_time_loses_and_duplicates_nothing(folder, uri, monkeypatch):
    monkeypatch.setattr("audio_lm.tracking.mlflow.client.LINES_PER_BATCH", 10)
    rng = random.Random(0)
    exit_codes = []
    while 0 not in exit_codes:
        num_calls = int(10 ** rng.uniform(3, 6))
        child = forked(lambda n=num_calls: killed_after(n, lambda: MlflowSync(folder, uri, print).send_new()))
        exit_codes.append(exit_code_of(child))
    assert exit_codes.count(-signal.SIGKILL) > 5
    MlflowSync(folder, uri, pytest.fail).send_new()
    client = MlflowClient(uri)
    assert steps(client) == list(range(1, NUM_STEPS + 1))
    assert steps(client, "norm") == list(range(1, NUM_STEPS + 1))
    assert len(client.search_runs([stage_run(client).info.experiment_id])) == 2


def send_and_die_before_saving(folder, uri):
    """Kill this process between sending data and saving the offset."""
    SyncState.write = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    MlflowSync(folder, uri, print).send_new()


def test_a_kill_between_sending_and_saving_duplicates_nothing(folder, uri):
    for _ in range(3):
        assert exit_code_of(forked(lambda: send_and_die_before_saving(folder, uri))) == -signal.SIGKILL
    MlflowSync(folder, uri, pytest.fail).send_new()
    client = MlflowClient(uri)
    assert len(client.search_runs([stage_run(client).info.experiment_id])) == 2
    assert steps(client) == list(range(1, NUM_STEPS + 1))


def test_points_sent_with_new_timestamps_would_be_duplicated(folder, uri, client, monkeypatch):
    ours = MlflowStore.log_points
    hour = 3_600_000

    def log_with_other_time(store, run_id, points):
        nonlocal hour
        hour += 3_600_000
        ours(store, run_id, [point._replace(time_ms=point.time_ms + hour) for point in points])

    monkeypatch.setattr(MlflowStore, "log_points", log_with_other_time)
    for _ in range(2):
        MlflowSync(folder, uri, pytest.fail).send_new()
        (folder / "tracking.sent").unlink()
    assert len(steps(client)) > NUM_STEPS, "control case"


def test_an_empty_store_gets_all_data_again(folder, uri, empty_database, tmp_path):
    MlflowSync(folder, uri, pytest.fail).send_new()
    other = tmp_path / "other" / "mlflow.db"
    other.parent.mkdir()
    shutil.copy(empty_database, other)
    MlflowSync(folder, f"sqlite:///{other}", pytest.fail).send_new()
    assert steps(MlflowClient(f"sqlite:///{other}")) == list(range(1, NUM_STEPS + 1))


def test_a_deleted_run_is_created_again_at_the_next_sync(folder, uri, client):
    MlflowSync(folder, uri, pytest.fail).send_new()
    before = stage_run(client).info.run_id
    client.delete_run(before)
    MlflowSync(folder, uri, pytest.fail).send_new()
    assert stage_run(client).info.run_id != before
    assert steps(client) == list(range(1, NUM_STEPS + 1))


def test_only_a_refused_value_is_lost(folder, uri, client, monkeypatch):
    ours = MlflowStore.log_points

    def refuse_one(store, run_id, points):
        if any(point.step == 77 and point.name == "loss" for point in points):
            raise MlflowException("not this one", error_code=1000)
        ours(store, run_id, points)

    monkeypatch.setattr(MlflowStore, "log_points", refuse_one)
    messages = []
    MlflowSync(folder, uri, messages.append).send_new()
    assert steps(client) == [step for step in range(1, NUM_STEPS + 1) if step != 77]
    assert len(messages) == 1


def test_a_file_that_cannot_be_sent_is_deferred_and_sent_later(folder, uri, client, monkeypatch):
    ours = MlflowStore.log_artifact

    def broken(store, run_id, path, where):
        if path.name == "asr.json":
            raise ConnectionError("the artifact store is unreachable")
        ours(store, run_id, path, where)

    messages = []
    mlflow_sync = MlflowSync(folder, uri, messages.append)
    with monkeypatch.context() as patched:
        patched.setattr(MlflowStore, "log_artifact", broken)
        for _ in range(MAX_ATTEMPTS - 1):
            with pytest.raises(ConnectionError):
                mlflow_sync.send_new()
        mlflow_sync.send_new()
        assert stage_run(client).info.status == "FINISHED"
        assert mlflow_sync.state.left
    again = MlflowSync(folder, uri, pytest.fail)
    again.send_new()
    again.send_deferred()
    assert not again.state.left
    assert [artifact.path for artifact in client.list_artifacts(stage_run(client).info.run_id, "eval")] == [
        "eval/asr.json"
    ]


def test_metrics_of_a_new_attempt_do_not_reach_the_old_run(folder, uri, client):
    MlflowSync(folder, uri, pytest.fail).send_new()
    old = stage_run(client).info.run_id
    metrics = folder / "stages/pretrain/metrics.jsonl"
    head = {"time": 1, "step": 0, "values": {}, "journal": "another"}
    metrics.write_text(
        json.dumps(head) + "\n" + json.dumps({"time": 1, "step": 900, "values": {"loss": 0}}) + "\n"
    )
    MlflowSync(folder, uri, pytest.fail).send_new()
    assert max(point.step for point in client.get_metric_history(old, "loss")) == NUM_STEPS


def test_a_run_without_an_end_event_is_marked_killed(uri, client, tmp_path):
    open_recipe_run(
        TrackingConfig(),
        facts=RunFacts(recipe="digits"),
        folder=tmp_path / "r",
        recipe_yaml="",
        settings={"a": 1},
    ).stage("pretrain")
    mlflow_sync = MlflowSync(tmp_path / "r", uri, pytest.fail)
    mlflow_sync.send_new()
    assert stage_run(client).info.status == "RUNNING"
    mlflow_sync.end_dead_runs()
    assert stage_run(client).info.status == "KILLED"


def test_a_sync_stopped_by_its_time_limit_is_continued_later(folder, uri, client):
    clock = iter([False] * 5 + [True] * 100)
    with pytest.raises(TimeoutError):
        MlflowSync(folder, uri, pytest.fail, is_late=lambda: next(clock)).send_new()
    MlflowSync(Path(folder), uri, pytest.fail).send_new()
    assert steps(client) == list(range(1, NUM_STEPS + 1))


@pytest.mark.parametrize("answer", [403, 429, 500, 503])
def test_a_server_that_refuses_all_requests_leaves_the_state_unchanged(folder, answer):
    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(answer)

        def do_POST(self):
            self.send_error(answer)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        mlflow_sync = MlflowSync(folder, f"http://127.0.0.1:{server.server_port}", pytest.fail)
        with pytest.raises(MlflowException):
            mlflow_sync.send_new()
        server.shutdown()
    assert (mlflow_sync.num_points, mlflow_sync.state.num_bytes) == (0, 0)


def test_a_user_who_may_not_change_the_experiment_still_sends_everything(folder, uri, client, monkeypatch):
    def refuse(store):
        raise MlflowException("no permission", error_code=PERMISSION_DENIED)

    monkeypatch.setattr(MlflowStore, "update_view", refuse)
    messages = []
    run = open_recipe_run(
        TrackingConfig(),
        facts=RunFacts(recipe="digits"),
        folder=folder,
        recipe_yaml="",
        settings={},
        resume=True,
    )
    run.log_metrics({"digits/wer": 0.1})
    run.close("FINISHED")
    MlflowSync(folder, uri, messages.append).send_new()
    (line,) = messages
    assert "refused the view of recipe" in line
    assert client.get_run(run.run_id).info.status == "FINISHED"


DAMAGES = {
    "empty": lambda raw: b"",
    "half": lambda raw: raw[: len(raw) // 2],
    "first line": lambda raw: raw[:20] + bytes([raw[20] ^ 4]) + raw[21:],
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    "name",
    ["tracking.jsonl", "tracking.sent", "metrics.jsonl", "stages/pretrain/metrics.jsonl", "mlflow.txt"],
)
def test_data_logged_after_a_file_was_damaged_reaches_the_same_runs_once(folder, uri, client, name, damage):
    MlflowSync(folder, uri, pytest.fail).send_new()
    before = stage_run(client).info.run_id
    (folder / name).write_bytes(DAMAGES[damage]((folder / name).read_bytes()))
    run = open_recipe_run(
        TrackingConfig(),
        facts=RunFacts(recipe="digits"),
        folder=folder,
        recipe_yaml="",
        settings={"a": 1},
        resume=True,
    )
    logger = run.stage("pretrain")
    for step in range(NUM_STEPS - 5, NUM_STEPS + 6):
        logger.log_metrics({"loss": float(step), "norm": 1.0}, step)
    run.end_stage("pretrain")
    run.close("FINISHED")
    MlflowSync(folder, uri, pytest.fail).send_new()
    assert stage_run(client).info.run_id == before
    assert stage_run(client).info.status == "FINISHED"
    arrived = steps(client)
    assert sorted(set(arrived)) == list(range(1, NUM_STEPS + 6))
    again = set(range(NUM_STEPS - 5, NUM_STEPS + 1)) if "stages" in name and damage != "first line" else set()
    assert {step for step in arrived if arrived.count(step) > 1} <= again, "except points of lost lines"
