"""A real MLflow server on loopback that is killed in the middle of a run and comes back: nothing is lost, nothing waits."""

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
from audio_lm.tracking.mlflow.sync import sync
from audio_lm.tracking.run import open_recipe_run
from tests.tracking.forks import ended, forked
from tests.tracking.stalls import assert_none_stalls, stalls_of

pytestmark = pytest.mark.slow
STEP = 0.02


class Server:
    """``mlflow server`` with a database and artifacts of its own."""

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
    made = Server(tmp_path)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.kill()


def opened(folder, resume=False):
    return open_recipe_run(
        TrackingConfig(), name="digits", folder=folder, recipe_yaml="", params={"a": 1}, resume=resume
    )


def steps_of(logger, steps, note):
    """Log a value a step, and wait for nobody."""

    def log(step):
        logger.log_metrics({f"loss/{number}": float(step) for number in range(20)}, step)

    assert_none_stalls(stalls_of(log, steps, pause=STEP), note)


def the_first_attempt(folder, server):
    """From a server that is not there yet over one that is there to one that was killed, and be killed."""
    run = opened(folder)
    logger = run.stage("pretrain")
    steps_of(logger, range(1, 101), "server not there")
    server.start()
    steps_of(logger, range(101, 201), "server there")
    assert run.wait(240)
    server.kill()
    steps_of(logger, range(201, 301), "server killed")
    logger.log_table([{"id": "a"}], "eval/asr.json")
    os.kill(os.getpid(), signal.SIGKILL)


def listening(address_of):
    return {
        (connection.laddr.ip, connection.laddr.port)
        for process in address_of
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }


def test_a_server_that_is_killed_and_comes_back_has_every_point_once(server, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    folder = tmp_path / "r"
    assert ended(forked(lambda: the_first_attempt(folder, server))) == -signal.SIGKILL
    with opened(folder, resume=True) as run:
        logger = run.stage("pretrain")
        steps_of(logger, range(250, 351), "server still away")
        server.start()
        steps_of(logger, range(351, 451), "server back")
        began = time.monotonic()
        assert run.wait(240)
        print(f"everything there {time.monotonic() - began:.1f} s after the last step")
        family = [
            psutil.Process(server.process.pid),
            *psutil.Process(server.process.pid).children(recursive=True),
        ]
        sockets = listening(family)
        assert ("127.0.0.1", server.port) in sockets
        assert {ip for ip, _ in sockets} == {"127.0.0.1"}
        assert listening([psutil.Process(run._sending.process_id)]) == set(), "who sends serves nobody"
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
    assert [found.path for found in client.list_artifacts(stage, "eval")] == ["eval/asr.json"]
    said = []
    (folder / "tracking.sent").unlink()
    began = time.monotonic()
    sync([folder], said.append)
    print(f"sent again from the beginning in {time.monotonic() - began:.1f} s: {said[-1]}")
    assert len(client.get_metric_history(stage, "loss/0")) == 450
