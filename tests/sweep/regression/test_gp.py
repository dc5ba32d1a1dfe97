import numpy as np

from audio_lm.sweep.regression.gp import GaussianProcess
from tests.sweep.surfaces import plain_points, true_losses


def test_a_gaussian_process_is_less_sure_far_from_the_data():
    shares = np.random.default_rng(0).dirichlet([30, 30, 30], 20)
    model = GaussianProcess().fit(plain_points(shares), true_losses(shares)[:, 0])
    _, (near, far) = model.predict(plain_points([[1 / 3] * 3, [0.001, 0.001, 0.998]]))
    assert far > 2 * near


def test_its_deviation_includes_the_noise_of_a_run():
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(3), 60)
    values = true_losses(shares)[:, 0] + 0.05 * rng.standard_normal(60)
    _, deviation = GaussianProcess().fit(plain_points(shares), values).predict(plain_points(shares))
    assert 0.035 < deviation.mean() < 0.08
