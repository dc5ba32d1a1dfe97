import io
from pathlib import Path

import pytest
from rich.console import Console

from audio_lm.compose import load_recipe
from audio_lm.recipe import Recipe
from audio_lm.run.folder import RunFolder
from audio_lm.run.train import train
from tests.run import carried


@pytest.fixture
def console() -> Console:
    """Remembers what it was told."""
    return Console(record=True, width=160, file=io.StringIO())


@pytest.fixture(scope="session")
def whole_run(small_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that nobody disturbed."""
    return train(
        load_recipe(small_recipe), out=tmp_path_factory.mktemp("runs") / "whole", console=Console(quiet=True)
    )


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
