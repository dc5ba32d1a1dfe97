"""Gaussian process on log shares, with one length scale per task.

The logarithm is the reason why a handful of trials is enough: a loss falls by about the same amount each time the share
of its own task doubles. Source: comparison on the data of RegMix (arXiv:2407.01492), `audio-lm bench regression`.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from audio_lm.common.errors import missing_extra
from audio_lm.sweep.regression.points import Points
from audio_lm.sweep.regression.value_scale import ValueScale
from audio_lm.sweep.table import Floats

SMALLEST_SHARE = 1e-3
"""Added to shares before the logarithm; a small trial has about a thousand clips, so this is one of them."""

LENGTH_SCALES = (0.3, 1e3)  # of log shares; the upper end switches a task off
SIGNALS = (1e-2, 1e2)  # variance of the surface, in variances of the metric
NOISES = (1e-5, 1.0)  # variance of a run, likewise


class GaussianProcess:
    """Family ``gp``."""

    name = "gp"

    def fit(self, points: Points, values: Floats) -> "GaussianProcessModel":
        """Fit length scales and noise by marginal likelihood."""
        try:
            from sklearn.exceptions import ConvergenceWarning
            from sklearn.gaussian_process import GaussianProcessRegressor
            from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
        except ImportError:
            raise missing_extra("scikit-learn", extra="sweep", purpose="mixture regression") from None
        features = _features(points)
        kernel = ConstantKernel(1.0, SIGNALS) * Matern(
            np.full(features.shape[1], 5.0), LENGTH_SCALES, nu=2.5
        ) + WhiteKernel(1e-2, NOISES)
        scale = ValueScale.of(values)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a length scale at its end is an unused task
            process = GaussianProcessRegressor(kernel).fit(features, scale.forward(values))
        return GaussianProcessModel(process, scale)


@dataclass(frozen=True)
class GaussianProcessModel:
    """Fitted Gaussian process."""

    process: Any
    scale: ValueScale

    def predict(self, points: Points) -> tuple[Floats, Floats]:
        """Mean and standard deviation of a run (N each)."""
        mean, deviation = self.process.predict(_features(points), return_std=True)
        return self.scale.back(mean, deviation)


def _features(points: Points) -> Floats:
    return np.hstack([np.log(points.shares + SMALLEST_SHARE), points.extra])
