"""Outage of a real MLflow server on loopback during a run: no data is lost and training does not wait."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import psutil
import pytest
from mlflow import MlflowClient

from audio_lm.tracking.config import TrackingConfig
from audio_lm.tracking.facts import RunFacts
from audio_lm.tracking.mlflow.sync import sync
from audio_lm.tracking.run import open_recipe_run
from tests.tracking.forks import exit_code_of, forked
from tests.tracking.stalls import assert_none_stalls, stalls_of

pytestmark = pytest.mark.slow
STEP = 0.02


class Server:
    """``mlflow server`` with its own database and artifacts."""

    def __init__(self, folder):
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1",
                "--backend-store-uri", f"sqlite:///{self.folder}/server.db", "--artifacts-destination", f"{self.folder}/files",
            ],
            cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        until = time.monotonic() + 120
        while time.monotonic() < until:
            try:
                urllib.request.urlopen(f"{self.address}/health", timeout=2)
                return
            except OSError:
                time.sleep(0.3)
        pytest.fail("the server did not start")

    def kill(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def server(tmp_path):
    mlflow_server = Server(tmp_path)
    yield mlflow_server
    if mlflow_server.process is not None and mlflow_server.process.poll() is None:
        mlflow_server.kill()


def open_run(folder, resume=False):
    return open_recipe_run(
        TrackingConfig(),
        facts=RunFacts(recipe="digits"),
        folder=folder,
        recipe_yaml="",
        settings={"a": 1},
        resume=resume,
    )


def log_steps(logger, steps, note):
    """Log 20 metrics per step and check that no step stalls."""

    def log(step):
        logger.log_metrics({f"loss/{number}": float(step) for number in range(20)}, step)

    assert_none_stalls(stalls_of(log, steps, pause=STEP), note)


def first_attempt(folder, server):
    """Log before the server starts, while it runs and after it was killed; then kill this process."""
    run = open_run(folder)
    logger = run.stage("pretrain")
    log_steps(logger, range(1, 101), "server not started")
    server.start()
    log_steps(logger, range(101, 201), "server running")
    assert run.wait(240)
    server.kill()
    log_steps(logger, range(201, 301), "server killed")
    logger.log_table([{"id": "a"}], "eval/asr.json")
    os.kill(os.getpid(), signal.SIGKILL)


def listening_sockets(processes):
    return {
        (connection.laddr.ip, connection.laddr.port)
        for process in processes
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }


def test_a_server_that_was_killed_and_restarted_has_all_points_once(server, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    folder = tmp_path / "r"
    assert exit_code_of(forked(lambda: first_attempt(folder, server))) == -signal.SIGKILL
    with open_run(folder, resume=True) as run:
        logger = run.stage("pretrain")
        log_steps(logger, range(250, 351), "server still down")
        server.start()
        log_steps(logger, range(351, 451), "server restarted")
        start = time.monotonic()
        assert run.wait(240)
        print(f"all data sent {time.monotonic() - start:.1f} s after the last step")
        processes = [
            psutil.Process(server.process.pid),
            *psutil.Process(server.process.pid).children(recursive=True),
        ]
        sockets = listening_sockets(processes)
        assert ("127.0.0.1", server.port) in sockets
        assert {ip for ip, _ in sockets} == {"127.0.0.1"}
        sync_process = psutil.Process(run._sync_process.process_id)
        assert listening_sockets([sync_process]) == set(), "the sync process opens no port"
    client = MlflowClient(server.address)
    experiment = client.get_experiment_by_name("digits").experiment_id
    runs = {run.data.tags["kind"]: run for run in client.search_runs([experiment])}
    assert len(client.search_runs([experiment])) == 2
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    stage = runs["stage"].info.run_id
    for name in ("loss/0", "loss/19"):
        history = client.get_metric_history(stage, name)
        assert [(point.step, point.value) for point in history] == [
            (step, float(step)) for step in range(1, 451)
        ]
    assert [artifact.path for artifact in client.list_artifacts(stage, "eval")] == ["eval/asr.json"]
    messages = []
    (folder / "tracking.sent").unlink()
    start = time.monotonic()
    sync([folder], messages.append)
    print(f"sent again from the start in {time.monotonic() - start:.1f} s: {messages[-1]}")
    assert len(client.get_metric_history(stage, "loss/0")) == 450
