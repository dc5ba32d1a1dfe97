import os
import signal
import time

import pytest

from audio_lm.tracking.config import TrackingConfig
from audio_lm.tracking.mlflow.client import MlflowSync
from audio_lm.tracking.mlflow.store import MlflowException
from audio_lm.tracking.mlflow.supervisor import MOST_LIVES
from audio_lm.tracking.run import PATIENCE, open_recipe_run
from tests.tracking.forks import ended, forked
from tests.tracking.stalls import assert_none_stalls, stalls_of

pytestmark = pytest.mark.slow  # the process that sends is a real one: a start of Python and of mlflow


def opened(folder, resume=False):
    return open_recipe_run(
        TrackingConfig(), name="digits", folder=folder, recipe_yaml="", params={"a": 1}, resume=resume
    )


def runs(client):
    (experiment,) = client.search_experiments(filter_string="name = 'digits'")
    return {run.data.tags["kind"]: run for run in client.search_runs([experiment.experiment_id])}


def steps(client):
    return [point.step for point in client.get_metric_history(runs(client)["stage"].info.run_id, "loss")]


def until(condition, seconds=60.0):
    """Wait for something that another process does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


def num_senders(folder):
    """Processes that send this run."""
    found = 0
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{process}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            continue
        found += b"audio_lm.tracking.mlflow.worker" in words and str(folder).encode() in words
    return found


def test_a_run_is_sent_while_it_goes_on_and_its_sender_ends_with_it(uri, client, tmp_path):
    with opened(tmp_path / "r") as run:
        logger = run.stage("pretrain")
        logger.log_metrics({"loss": 1.0}, 1)
        assert run.wait(60)
        assert steps(client) == [1]
        assert runs(client)["stage"].info.status == "RUNNING"
        until(lambda: num_senders(tmp_path / "r") == 1)
        logger.log_metrics({"loss": 1.0}, 2)
        logger.finalize("success")
    assert num_senders(tmp_path / "r") == 0
    assert steps(client) == [1, 2]
    assert {run.info.status for run in runs(client).values()} == {"FINISHED"}
    assert logger.run_id == runs(client)["stage"].info.run_id


def train_and_be_killed(folder, first, last, resume=False):
    logger = opened(folder, resume).stage("pretrain")
    for step in range(first, last):
        logger.log_metrics({"loss": 1.0}, step)
    time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGKILL)


def test_after_a_kill_the_rest_is_sent_the_status_is_right_and_the_next_attempt_is_the_same_run(
    uri, client, tmp_path
):
    folder = tmp_path / "r"
    assert ended(forked(lambda: train_and_be_killed(folder, 1, 100))) == -signal.SIGKILL
    until(lambda: (folder / "mlflow.txt").exists() and num_senders(folder) == 0)
    assert steps(client) == list(range(1, 100))
    assert {run.info.status for run in runs(client).values()} == {"KILLED"}
    before = {kind: run.info.run_id for kind, run in runs(client).items()}
    # The second kill comes while its sender still waits for mlflow, and the third attempt begins at once.
    assert ended(forked(lambda: train_and_be_killed(folder, 90, 200, resume=True))) == -signal.SIGKILL
    with opened(folder, resume=True) as run:
        logger = run.stage("pretrain")
        until(lambda: run.wait(1) and {run.info.status for run in runs(client).values()} == {"RUNNING"})
        for step in range(150, 301):
            logger.log_metrics({"loss": 1.0}, step)
    assert steps(client) == list(range(1, 301))
    assert {run.info.status for run in runs(client).values()} == {"FINISHED"}
    assert {kind: run.info.run_id for kind, run in runs(client).items()} == before


def test_a_sender_that_is_killed_is_started_again(uri, client, tmp_path, warned):
    with opened(tmp_path / "r") as run:
        logger = run.stage("pretrain")
        logger.log_metrics({"loss": 1.0}, 1)
        assert run.wait(60)
        os.kill(run._sending.process_id, signal.SIGKILL)
        logger.log_metrics({"loss": 1.0}, 2)
        assert run.wait(60)
        os.kill(run._sending.process_id, signal.SIGKILL)
    assert steps(client) == [1, 2]
    assert {run.info.status for run in runs(client).values()} == {"FINISHED"}
    assert "started again" in warned()[0]


def test_neither_a_store_that_is_nowhere_nor_one_that_never_answers_costs_the_training_time(
    tmp_path, monkeypatch, warned, silent_server
):
    for name, address in (("away", "http://127.0.0.1:9"), ("slow", silent_server)):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
        run = opened(tmp_path / name)
        logger = run.stage("pretrain")
        stalls = stalls_of(
            lambda step, to=logger: to.log_metrics({"loss": 1.0}, step), range(300), pause=0.01
        )
        assert_none_stalls(stalls, f"store {name}")
        began = time.monotonic()
        run.finish()
        assert time.monotonic() - began < PATIENCE / 2, name
        assert len((tmp_path / name / "stages/pretrain/metrics.jsonl").read_text().splitlines()) == 301
        assert "does not answer" in warned()[-2], name
        assert "track sync" in warned()[-1], name
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    def send_it_ourselves(step):
        with pytest.raises(MlflowException):
            MlflowSync(tmp_path / "slow", silent_server, pytest.fail).send_new()

    with pytest.raises(AssertionError, match="the control"):
        assert_none_stalls(stalls_of(send_it_ourselves, range(1)), "the control")


def test_a_sender_that_cannot_live_is_left_at_that(tmp_path, uri, monkeypatch, warned):
    monkeypatch.setattr("audio_lm.tracking.mlflow.supervisor.MODULE", "audio_lm.tracking.not_there")
    monkeypatch.setattr("audio_lm.tracking.mlflow.supervisor.FIRST_PAUSE", 0.01)
    run = opened(tmp_path / "r")
    run._sending._thread.join(30)
    run.finish()
    assert len(warned()) == MOST_LIVES + 1
    assert "it stays so" in warned()[-2]
    assert "not_there" in (tmp_path / "r" / "tracking.log").read_text()
