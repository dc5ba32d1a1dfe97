import io
import signal
from pathlib import Path

import pytest
from rich.console import Console

from audio_lm.config.load import load_recipe
from audio_lm.config.schema import Recipe
from audio_lm.fault_tolerance.heartbeat import Heartbeat
from audio_lm.fault_tolerance.signals import SIGNALS, STOP_SIGNALS
from audio_lm.run.folder import RunFolder
from audio_lm.run.session import RunSession
from tests.run import carried
from tests.run import stopped as stopping


@pytest.fixture
def console() -> Console:
    """Records what is printed."""
    return Console(record=True, width=160, file=io.StringIO())


@pytest.fixture(scope="session")
def carried_recipe(small: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe of ``carried``."""
    return carried.write_recipe(tmp_path_factory.mktemp("carried") / "carried.yaml", small)


@pytest.fixture(scope="session")
def undisturbed(
    carried_recipe: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[carried.Attempt, Path]:
    """Its six steps by two ranks that nobody disturbed, and their folder."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    attempt = carried.command(carried_recipe, out, 2)
    assert attempt.code == 0, attempt.said
    return attempt, out


@pytest.fixture(scope="session")
def stopped_recipe(small: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe of ``stopped``."""
    return stopping.write_recipe(tmp_path_factory.mktemp("stopping") / "stopped.yaml", small)


@pytest.fixture(scope="session")
def unstopped(
    stopped_recipe: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[stopping.Outcome, Path]:
    """Its six steps by a process that nobody disturbed, and the folder of run and cache."""
    folder = tmp_path_factory.mktemp("unstopped")
    outcome = stopping.started(stopped_recipe, folder)
    assert not outcome.refusal
    assert len(outcome.losses) == 6
    return outcome, folder


@pytest.fixture(scope="session")
def stopped(stopped_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was killed in its second stage, and of its cache."""
    folder = tmp_path_factory.mktemp("stopped")
    assert stopping.started(stopped_recipe, folder, kill=stopping.KILLED_AT) is None
    return folder


@pytest.fixture
def ended(tmp_path):
    """A stage that has left weights."""
    folder = RunFolder(tmp_path / "run")
    folder.model("pretrain").mkdir(parents=True)
    (folder.model("pretrain") / "encoder.safetensors").write_bytes(b"weights" * 100)
    folder.mark_finished("pretrain", 6)
    return folder


@pytest.fixture
def unwatched(monkeypatch):
    monkeypatch.setattr(Heartbeat, "start", lambda self: None)
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    yield
    SIGNALS.received = 0
    assert {number: signal.getsignal(number) for number in STOP_SIGNALS} == before, "handlers are given back"


@pytest.fixture
def session_of(small_recipe):
    """A session that is not entered, of a folder."""

    def of(folder, **config):
        overrides = [f"fault_tolerance.{key}={value}" for key, value in config.items()]
        console = Console(file=io.StringIO())
        return RunSession(load_recipe(small_recipe, overrides), RunFolder(folder), console)

    return of


@pytest.fixture
def started(session_of):
    """A session that has claimed and opened its folder."""

    def start(folder, **config):
        session = session_of(folder, **config)
        session.__enter__()
        session.claim([0, 0, 0, 7])
        session.open()
        return session

    return start
