import math

import numpy as np
import pytest
from scipy import stats

from audio_lm.metrics.seeds import mean_over_seeds


def test_the_interval_is_that_of_a_t_test_of_one_sample():
    values = [0.31, 0.28, 0.35, 0.30]
    found = mean_over_seeds(values)
    low, high = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert found.interval == pytest.approx((low, high))
    assert (found.mean, found.num_seeds) == (pytest.approx(0.31), 4)
    assert not found.has_zero


def test_two_seeds_have_an_interval_of_twelve_standard_errors():
    found = mean_over_seeds([-0.01, 0.03])
    assert found.half_width == pytest.approx(12.706 * 0.02, rel=1e-4)  # of any table of t
    assert found.has_zero


@pytest.mark.parametrize("values", [[0.5], [math.inf, 0.5, 0.4]])
def test_one_seed_or_an_infinite_score_has_no_interval(values):
    found = mean_over_seeds(values)
    assert found.interval is None
    assert found.has_zero, "nothing is known of the difference"


def test_equal_values_have_an_interval_of_no_width():
    assert mean_over_seeds([0.25] * 3).interval == (0.25, 0.25)


def test_the_interval_of_three_seeds_contains_the_truth_in_95_of_100_cases():
    rng = np.random.default_rng(0)
    draws = rng.normal(0.2, 0.05, size=(2000, 3))
    covered = [low <= 0.2 <= high for low, high in (mean_over_seeds(row).interval for row in draws)]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.015)
