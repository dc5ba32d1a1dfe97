import numpy as np
import pytest

from audio_lm.common.errors import DataError
from audio_lm.sweep.config import MetricConfig
from audio_lm.sweep.fit import fit_table
from audio_lm.sweep.recorded import SearchFigures, _first_below, read_recorded, take
from audio_lm.sweep.regression.surface import rank_correlation
from tests.sweep.surfaces import REGMIX

needs_regmix = pytest.mark.skipif(not REGMIX.is_dir(), reason="needs AUDIO_LM_DATA")


@needs_regmix
def test_a_recorded_loss_is_ranked_from_seventeen_runs():
    train, unseen = read_recorded(REGMIX, "train", "1m"), read_recorded(REGMIX, "test", "1m")
    rows = np.random.default_rng(1).choice(len(train), 17, replace=False)
    names = [*train.metrics][:2]
    fit = fit_table(take(train, rows), {name: MetricConfig() for name in names})
    for name in names:
        predicted = fit.surfaces[name].predict(unseen.shares)[0]
        assert rank_correlation(predicted, unseen.metrics[name]) > 0.85, name


def test_the_trials_of_a_search_are_counted_to_the_first_that_arrives():
    assert _first_below(np.array([3.0, 1.0, 0.5]), 1.0) == 2
    assert _first_below(np.array([3.0]), 1.0) == 2
    assert SearchFigures("x", random=[10, 20, 30], regression=[5, 5, 50]).ratio == 0.25


def test_a_folder_without_recorded_runs_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"train_mixture_1m\.csv"):
        read_recorded(tmp_path, "train", "1m")
