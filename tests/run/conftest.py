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
from tests.run import killed_run as killing
from tests.run import observed_run


@pytest.fixture
def console() -> Console:
    """Console that records its output."""
    return Console(record=True, width=160, file=io.StringIO())


@pytest.fixture(scope="session")
def observed_recipe(small: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recipe of ``observed_run``."""
    return observed_run.write_recipe(tmp_path_factory.mktemp("observed") / "observed.yaml", small)


@pytest.fixture(scope="session")
def undisturbed(
    observed_recipe: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[observed_run.Attempt, Path]:
    """Six uninterrupted steps of it on two ranks, and the run folder."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    attempt = observed_run.run_command(observed_recipe, out, 2)
    assert attempt.code == 0, attempt.output
    return attempt, out


@pytest.fixture(scope="session")
def two_stage_recipe(small: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recipe of ``killed_run``."""
    return killing.write_recipe(tmp_path_factory.mktemp("killed") / "two_stages.yaml", small)


@pytest.fixture(scope="session")
def reference_run(
    two_stage_recipe: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[killing.Outcome, Path]:
    """Six uninterrupted steps of it, and the folder of run and cache."""
    folder = tmp_path_factory.mktemp("reference")
    outcome = killing.start_run(two_stage_recipe, folder)
    assert not outcome.refusal
    assert len(outcome.losses) == 6
    return outcome, folder


@pytest.fixture(scope="session")
def killed_run(two_stage_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run that was killed in its second stage, with its cache."""
    folder = tmp_path_factory.mktemp("killed_run")
    assert killing.start_run(two_stage_recipe, folder, kill=killing.KILLED_AT) is None
    return folder


@pytest.fixture
def finished_folder(tmp_path):
    """Folder of a run whose first stage is finished."""
    folder = RunFolder(tmp_path / "run")
    folder.model("pretrain").mkdir(parents=True)
    (folder.model("pretrain") / "encoder.safetensors").write_bytes(b"weights" * 100)
    folder.mark_finished("pretrain", 6)
    return folder


@pytest.fixture
def no_watchdog(monkeypatch):
    """Start no watchdog, and check that signal handlers are restored."""
    monkeypatch.setattr(Heartbeat, "start", lambda self: None)
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    yield
    SIGNALS.received = 0
    assert {number: signal.getsignal(number) for number in STOP_SIGNALS} == before, "handlers are restored"


@pytest.fixture
def make_session(small_recipe):
    """Function that makes a session of a folder, not yet entered."""

    def make(folder, **config):
        overrides = [f"fault_tolerance.{key}={value}" for key, value in config.items()]
        console = Console(file=io.StringIO())
        return RunSession(load_recipe(small_recipe, overrides), RunFolder(folder), console)

    return make


@pytest.fixture
def open_session(make_session):
    """Function that makes a session that has claimed and opened its folder."""

    def make(folder, **config):
        session = make_session(folder, **config)
        session.__enter__()
        session.claim([0, 0, 0, 7])
        session.open()
        return session

    return make
