import numpy as np

from audio_lm.sweep.regression.log_linear import LogLinear
from tests.sweep.surfaces import plain_points


def test_a_log_linear_function_is_recovered():
    rng = np.random.default_rng(0)
    seen, unseen = rng.dirichlet(np.ones(3), 12), rng.dirichlet(np.ones(3), 50)
    slopes = np.array([-1.0, 0.5, 2.0])
    model = LogLinear().fit(plain_points(seen), 1.5 + np.exp(seen @ slopes))
    np.testing.assert_allclose(
        model.predict(plain_points(unseen))[0], 1.5 + np.exp(unseen @ slopes), rtol=0.02
    )


def test_more_tasks_than_trials_can_be_fitted():
    shares = np.random.default_rng(0).dirichlet(np.ones(17), 10)
    model = LogLinear().fit(plain_points(shares), 2 - shares[:, 0])
    mean, deviation = model.predict(plain_points(np.eye(17)))
    assert mean[0] < np.median(mean) - 0.1
    assert (deviation > 0).all()
