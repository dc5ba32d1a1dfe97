import os
import signal
import time

import pytest

from audio_lm.tracking.config import TrackingConfig
from audio_lm.tracking.facts import RunFacts
from audio_lm.tracking.mlflow.client import MlflowSync
from audio_lm.tracking.mlflow.store import MlflowException
from audio_lm.tracking.mlflow.supervisor import MAX_SHORT_LIVES
from audio_lm.tracking.run import PATIENCE, open_recipe_run
from tests.tracking.forks import exit_code_of, forked
from tests.tracking.stalls import assert_none_stalls, stalls_of

pytestmark = pytest.mark.slow  # starts real sync processes, which import mlflow


def open_run(folder, resume=False):
    return open_recipe_run(
        TrackingConfig(),
        facts=RunFacts(recipe="digits"),
        folder=folder,
        recipe_yaml="",
        settings={"a": 1},
        resume=resume,
    )


def runs(client):
    (experiment,) = client.search_experiments(filter_string="name = 'digits'")
    return {run.data.tags["kind"]: run for run in client.search_runs([experiment.experiment_id])}


def steps(client):
    return [point.step for point in client.get_metric_history(runs(client)["stage"].info.run_id, "loss")]


def until(condition, seconds=60.0):
    """Wait until a condition is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "timeout"
        time.sleep(0.05)


def num_sync_processes(folder):
    """Number of processes that sync a run."""
    count = 0
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{process}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            continue
        count += b"audio_lm.tracking.mlflow.worker" in words and str(folder).encode() in words
    return count


def test_a_run_is_synced_while_it_runs_and_the_sync_process_ends_with_it(uri, client, tmp_path):
    with open_run(tmp_path / "r") as run:
        logger = run.stage("pretrain")
        logger.log_metrics({"loss": 1.0}, 1)
        assert run.wait(60)
        assert steps(client) == [1]
        assert runs(client)["stage"].info.status == "RUNNING"
        until(lambda: num_sync_processes(tmp_path / "r") == 1)
        logger.log_metrics({"loss": 1.0}, 2)
        run.end_stage("pretrain")
    assert num_sync_processes(tmp_path / "r") == 0
    assert steps(client) == [1, 2]
    assert {run.info.status for run in runs(client).values()} == {"FINISHED"}
    assert logger.run_id == runs(client)["stage"].info.run_id


def log_and_die(folder, first, last, resume=False):
    logger = open_run(folder, resume).stage("pretrain")
    for step in range(first, last):
        logger.log_metrics({"loss": 1.0}, step)
    time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGKILL)


def test_after_a_kill_the_rest_is_sent_and_the_next_attempt_continues_the_run(uri, client, tmp_path):
    folder = tmp_path / "r"
    assert exit_code_of(forked(lambda: log_and_die(folder, 1, 100))) == -signal.SIGKILL
    until(lambda: (folder / "mlflow.txt").exists() and num_sync_processes(folder) == 0)
    assert steps(client) == list(range(1, 100))
    assert {run.info.status for run in runs(client).values()} == {"KILLED"}
    before = {kind: run.info.run_id for kind, run in runs(client).items()}
    # The second kill comes while its sync process still imports mlflow, and the third attempt starts at once.
    assert exit_code_of(forked(lambda: log_and_die(folder, 90, 200, resume=True))) == -signal.SIGKILL
    with open_run(folder, resume=True) as run:
        logger = run.stage("pretrain")
        until(lambda: run.wait(1) and {run.info.status for run in runs(client).values()} == {"RUNNING"})
        for step in range(150, 301):
            logger.log_metrics({"loss": 1.0}, step)
    assert steps(client) == list(range(1, 301))
    assert {run.info.status for run in runs(client).values()} == {"FINISHED"}
    assert {kind: run.info.run_id for kind, run in runs(client).items()} == before


def test_a_killed_sync_process_is_restarted(uri, client, tmp_path, warnings_logged):
    with open_run(tmp_path / "r") as run:
        logger = run.stage("pretrain")
        logger.log_metrics({"loss": 1.0}, 1)
        assert run.wait(60)
        os.kill(run._sync_process.process_id, signal.SIGKILL)
        logger.log_metrics({"loss": 1.0}, 2)
        assert run.wait(60)
        os.kill(run._sync_process.process_id, signal.SIGKILL)
    assert steps(client) == [1, 2]
    assert {run.info.status for run in runs(client).values()} == {"FINISHED"}
    assert "restart in" in warnings_logged()[0]


def test_neither_an_unreachable_store_nor_one_that_never_answers_slows_training(
    tmp_path, monkeypatch, warnings_logged, silent_server
):
    for name, address in (("unreachable", "http://127.0.0.1:9"), ("slow", silent_server)):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
        run = open_run(tmp_path / name)
        logger = run.stage("pretrain")
        stalls = stalls_of(
            lambda step, to=logger: to.log_metrics({"loss": 1.0}, step), range(300), pause=0.01
        )
        assert_none_stalls(stalls, f"store {name}")
        start = time.monotonic()
        run.finish()
        assert time.monotonic() - start < PATIENCE / 2, name
        assert len((tmp_path / name / "stages/pretrain/metrics.jsonl").read_text().splitlines()) == 301
        assert "is unreachable" in warnings_logged()[-2], name
        assert "track sync" in warnings_logged()[-1], name
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    def send_in_this_process(step):
        with pytest.raises(MlflowException):
            MlflowSync(tmp_path / "slow", silent_server, pytest.fail).send_new()

    with pytest.raises(AssertionError, match="control case"):
        assert_none_stalls(stalls_of(send_in_this_process, range(1)), "control case")


def test_a_sync_process_that_always_fails_is_not_restarted_for_ever(
    tmp_path, uri, monkeypatch, warnings_logged
):
    monkeypatch.setattr("audio_lm.tracking.mlflow.supervisor.MODULE", "audio_lm.tracking.not_there")
    monkeypatch.setattr("audio_lm.tracking.mlflow.supervisor.FIRST_PAUSE", 0.01)
    run = open_run(tmp_path / "r")
    run._sync_process._thread.join(30)
    run.finish()
    assert len(warnings_logged()) == MAX_SHORT_LIVES + 1
    assert "it is not restarted" in warnings_logged()[-2]
    assert "not_there" in (tmp_path / "r" / "tracking.log").read_text()
