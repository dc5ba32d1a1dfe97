from collections.abc import Callable

import numpy as np
import pytest

from audio_lm.common.rng import random_for
from audio_lm.model.resolve_sizes import resolve_sizes
from audio_lm.run.load_model import LoadedModel
from tests.conftest import TINY


@pytest.fixture
def loaded(make_model, vocabulary) -> LoadedModel:
    """A tiny chat model with random weights."""
    return LoadedModel(
        source="tiny",
        model=make_model().train(False),
        vocabulary=vocabulary,
        config=resolve_sizes(TINY),
        prompt="chatml",
        tasks=("chat",),
    )


@pytest.fixture
def make_wave() -> Callable[..., np.ndarray]:
    """Function that makes noise at 16 kHz."""

    def make(number: int = 0, *, seconds: float = 0.5) -> np.ndarray:
        rng = random_for("chat", number)
        return rng.normal(0, 0.1, int(16_000 * seconds)).astype(np.float32)

    return make
