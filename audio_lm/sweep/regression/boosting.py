"""Gradient boosting of regression trees on shares.

Source: RegMix, arXiv:2407.01492, which uses LightGBM; scikit-learn's needs fewer runs for the same rank correlation.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from audio_lm.common.errors import missing_extra
from audio_lm.sweep.regression.points import Points
from audio_lm.sweep.regression.value_scale import ValueScale
from audio_lm.sweep.table import Floats


class GradientBoosting:
    """Family ``boosting``."""

    name = "boosting"

    def fit(self, points: Points, values: Floats) -> "GradientBoostingModel":
        """Fit trees."""
        try:
            from sklearn.ensemble import GradientBoostingRegressor
        except ImportError:
            raise missing_extra("scikit-learn", extra="sweep", purpose="mixture regression") from None
        scale = ValueScale.of(values)
        trees = GradientBoostingRegressor(random_state=0).fit(points.columns(), scale.forward(values))
        return GradientBoostingModel(trees, scale)


@dataclass(frozen=True)
class GradientBoostingModel:
    """Fitted trees."""

    trees: Any
    scale: ValueScale

    def predict(self, points: Points) -> tuple[Floats, Floats]:
        """Mean and a constant deviation (N each): trees do not know how far a point is from the data."""
        return self.scale.back(self.trees.predict(points.columns()), np.ones(len(points)))
