import io
from pathlib import Path

import pytest
from rich.console import Console

from audio_lm.compose import load_recipe
from audio_lm.run.folder import RunFolder
from audio_lm.run.train import train


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
