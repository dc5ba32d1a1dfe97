import numpy as np

from audio_lm.sweep.regression.boosting import GradientBoosting
from tests.sweep.surfaces import plain_points, true_losses


def test_trees_have_one_deviation_for_all_points():
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(3), 10)
    model = GradientBoosting().fit(plain_points(shares), true_losses(shares)[:, 0])
    _, deviation = model.predict(plain_points(rng.dirichlet(np.ones(3), 5)))
    assert np.ptp(deviation) == 0
