import numpy as np
import pytest
from sklearn.linear_model import Ridge

from audio_lm.sweep.regression.log_linear import LogLinear, _Ridge
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


@pytest.mark.parametrize("penalty", [0.01, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_slopes_and_left_out_errors_are_those_of_ridge_regressions_of_scikit_learn(seed, penalty):
    """Errors by the leverage equal those of as many fits as there are points, each without its point."""
    rng = np.random.default_rng(seed)
    inputs, values = rng.dirichlet(np.ones(5), 25), rng.normal(0, 1, 25)
    ours = _Ridge(inputs)
    np.testing.assert_allclose(ours.slopes(values, penalty), Ridge(penalty).fit(inputs, values).coef_)
    alone = [
        values[out]
        - Ridge(penalty).fit(np.delete(inputs, out, 0), np.delete(values, out)).predict(inputs[[out]])[0]
        for out in range(25)
    ]
    # Theirs centre without the point that is left out; ours with it, which changes a slope by less than the penalty does.
    np.testing.assert_allclose(ours.left_out_errors(values, penalty), alone, atol=2e-2)
    white = (inputs - inputs.mean(0)) @ ours.whiten(1e-9)
    np.testing.assert_allclose(white[:, :4].T @ white[:, :4], np.eye(4), atol=1e-6)
