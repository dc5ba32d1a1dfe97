import logging
import shutil
import socket

import numpy as np
import pytest

from audio_lm.tracking import run as tracking_run
from audio_lm.tracking.mlflow.store import MlflowStore
from audio_lm.tracking.mlflow.supervisor import SyncProcess
from audio_lm.tracking.report.audio_report import ReportClip
from tests.in_process_sync import InProcessSync


@pytest.fixture(autouse=True)
def sync_process(monkeypatch):
    """Let a process of its own send runs, as outside of tests."""
    monkeypatch.setattr(tracking_run, "SyncProcess", SyncProcess)


@pytest.fixture
def in_process_sync(sync_process, monkeypatch):
    """Send runs when they end, in this process."""
    monkeypatch.setattr(tracking_run, "SyncProcess", InProcessSync)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """Empty MLflow database; created once and copied, because mlflow needs two seconds for its tables."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    _ = MlflowStore(f"sqlite:///{path}", "none").client
    return path


@pytest.fixture
def uri(empty_database, tmp_path, monkeypatch):
    """URI of an empty store in the test's working folder."""
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("RANK", raising=False)
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture
def store(uri):
    return MlflowStore(uri, "digits")


@pytest.fixture
def client(store):
    return store.client


@pytest.fixture
def silent_server():
    """URL of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def warnings_logged(caplog):
    """Function that returns the warnings logged so far."""
    caplog.set_level(logging.WARNING)
    return lambda: [record.getMessage() for record in caplog.records if record.name.startswith("audio_lm")]


@pytest.fixture
def clip():
    """Function that makes clips of 0.2 s."""

    def make(**changed):
        seconds = np.arange(3200) / 16_000
        facts = {
            "cut_id": "cut-1",
            "task": "asr",
            "wave": 0.5 * np.sin(2 * np.pi * 440 * seconds),
            "log_mel": np.random.default_rng(0).normal(size=(20, 80)).astype(np.float32),
            "question": "<|startoftranscript|><|en|><|transcribe|>",
            "reference": "seven three one",
            "answer": "seven tree one",
            "stage": "pretrain",
        }
        return ReportClip(**{**facts, **changed})

    return make
