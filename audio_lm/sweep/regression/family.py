"""Interface of a regression family."""

from typing import Protocol

from audio_lm.sweep.regression.points import Points
from audio_lm.sweep.table import Floats


class Model(Protocol):
    """Fitted regression."""

    def predict(self, points: Points) -> tuple[Floats, Floats]:
        """Mean and standard deviation (N each); the deviation is right up to one factor, which cross-validation sets."""
        ...


class Family(Protocol):
    """Kind of regression; values are such that smaller is better."""

    name: str

    def fit(self, points: Points, values: Floats) -> Model:
        """Regression of values (N) on points."""
        ...
