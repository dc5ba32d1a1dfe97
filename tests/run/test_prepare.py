import pytest
from rich.console import Console

from audio_lm.config.load import load_recipe
from audio_lm.run.folder import RunFolder
from audio_lm.run.prepare import prepare
from audio_lm.run.session import RunSession
from audio_lm.run.start import RunStart

pytestmark = pytest.mark.usefixtures("no_watchdog")


def prepare_run(recipe, folder, *overrides):
    """Prepare a start of a recipe; returns the result, the start and the printed output."""
    console = Console(record=True, width=200, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115
    start = RunStart(load_recipe(recipe, overrides), out=folder)
    session = RunSession(start.composed, RunFolder(folder), console)
    return prepare(start, session), start, console.export_text()


def test_everything_fits_together_before_the_run_folder_exists(small_recipe, tmp_path):
    prepared, start, printed = prepare_run(small_recipe, tmp_path / "run")
    assert start.stages == list(prepared.plans) == list(prepared.sources) == ["pretrain", "chat"]
    names = {name for name, _ in prepared.model.named_parameters()}
    assert all(rates.keys() == names for rates in prepared.rates.values())
    num_rows = sum(source.num_rows for planned in prepared.plans.values() for source in planned.leaves)
    assert f"{num_rows} training examples planned, vocabulary of {len(prepared.vocabulary)}" in printed
    assert not (tmp_path / "run").exists()


def test_muon_without_a_trained_matrix_is_reported(small_recipe, tmp_path):
    frozen = [f"stages.chat.parts.{part}.lr=null" for part in ("encoder", "projector", "language_model")]
    _, _, printed = prepare_run(small_recipe, tmp_path / "run", "stages.chat.optimizer.kind=muon", *frozen)
    assert "chat: optimizer.kind=muon has no effect" in printed
    assert "pretrain: optimizer.kind=muon" not in printed
