import math

import numpy as np
import pytest
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from scipy.special import logit, softmax

from audio_lm.common.errors import DataError
from audio_lm.metrics.closed import ClosedScores, equal_error_rate, roc_curve
from audio_lm.metrics.registry import find_metric


def value_of(name, choices, references):
    metric = find_metric(name).build(sync_on_compute=False)
    metric.update(choices, references, ["en"] * len(references))
    return float(metric.compute())


def binary(*probabilities):
    return [ClosedScores(("yes", "no"), (math.log(p), math.log(1 - p))) for p in probabilities]


def random_trials(seed, count=400, *, is_rounded=False):
    rng = np.random.default_rng(seed)
    targets = (rng.random(count) < 0.3).astype(float)
    scores = rng.normal(targets * 1.2)
    return (np.round(scores, 1) if is_rounded else scores), targets


@pytest.mark.parametrize("is_rounded", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_roc_and_equal_error_rate_are_those_of_scikit_learn(seed, is_rounded):
    sklearn = pytest.importorskip("sklearn.metrics")
    scores, targets = random_trials(seed, is_rounded=is_rounded)
    false_alarms, hits, _ = sklearn.roc_curve(targets, scores, drop_intermediate=False)
    ours = roc_curve(scores, targets)
    np.testing.assert_allclose(ours[0], false_alarms)
    np.testing.assert_allclose(ours[1], hits)
    theirs = brentq(lambda x: 1 - x - interp1d(false_alarms, hits)(x), 0, 1)
    assert equal_error_rate(scores, targets) == pytest.approx(theirs, abs=1e-9)
    assert np.trapezoid(ours[1], ours[0]) == pytest.approx(sklearn.roc_auc_score(targets, scores))


def test_two_answers_give_one_trial_for_each_clip():
    choices, references = binary(0.9, 0.6, 0.4, 0.2), ["yes", "no", "yes", "no"]
    assert value_of("auroc", choices, references) == 0.75
    assert value_of("roc_eer", choices, references) == 0.5
    swapped = [ClosedScores(one.texts[::-1], one.logprobs[::-1]) for one in choices]
    assert value_of("auroc", swapped, references) == 0.75
    assert value_of("roc_eer", swapped, references) == 0.5


def test_more_answers_give_a_trial_each():
    logs = tuple(map(math.log, (0.7, 0.2, 0.1)))
    choices = [ClosedScores(("a", "b", "c"), logs), ClosedScores(("b", "c", "a"), logs)]
    assert value_of("auroc", choices, ["a", "b"]) == 1
    assert value_of("roc_eer", choices, ["a", "b"]) == 0
    assert value_of("auroc", choices, ["c", "a"]) == 0


def test_the_calibration_error_is_the_gap_between_confidence_and_accuracy():
    choices = binary(0.8, 0.8, 0.8, 0.8, 0.8)
    assert value_of("ece", choices, ["yes"] * 4 + ["no"]) == pytest.approx(0, abs=1e-12)
    assert value_of("ece", choices, ["no"] * 5) == pytest.approx(0.8)
    assert value_of("ece", choices, ["perhaps"] * 5) == pytest.approx(0.8), "no answer can be right"


def test_probabilities_are_among_the_allowed_answers_and_finite():
    choices = ClosedScores(("a", "b"), (-1000.0, -1001.0))
    assert sum(choices.probabilities) == pytest.approx(1)
    assert choices.log_odds == pytest.approx([1, -1])


def test_a_reference_is_found_in_any_form():
    choices = ClosedScores(("gender: female", "gender: male"), (-1.0, -2.0))
    assert choices.index_of(" gender: male ") == 1
    assert choices.index_of("Male.") == 1
    assert choices.index_of("dog") == -1


def test_generated_answers_and_a_single_class_are_refused():
    with pytest.raises(DataError, match="closed: true"):
        value_of("ece", ["yes"], ["yes"])
    with pytest.raises(DataError, match="expected several answers"):
        value_of("ece", [ClosedScores(("yes",), (-1.0,))], ["yes"])
    with pytest.raises(DataError, match="no ROC curve"):
        value_of("roc_eer", binary(0.9, 0.8), ["yes", "yes"])


def random_answers(seed, num_answers, count=300):
    """Scores of allowed answers, and references that are likelier for likelier answers."""
    rng = np.random.default_rng(seed)
    texts = tuple("abcde"[:num_answers])
    logs = rng.normal(0, 2, (count, num_answers))
    right = [rng.choice(num_answers, p=row) for row in softmax(logs * 0.6, axis=1)]
    return logs, right, [ClosedScores(texts, tuple(row)) for row in logs.tolist()], [texts[i] for i in right]


@pytest.mark.parametrize("num_answers", [2, 3, 5])
def test_probabilities_and_log_odds_are_those_of_scipy(num_answers):
    logs, _, choices, _ = random_answers(0, num_answers)
    probabilities = softmax(logs, axis=1)
    np.testing.assert_allclose([one.probabilities for one in choices], probabilities)
    np.testing.assert_allclose([one.log_odds for one in choices], logit(probabilities), atol=1e-9)


@pytest.mark.parametrize("num_answers", [2, 5])
def test_the_calibration_error_is_the_mean_gap_of_fifteen_bins_of_equal_width(num_answers):
    logs, right, choices, references = random_answers(1, num_answers)
    probabilities = softmax(logs, axis=1)
    confidence, is_right = probabilities.max(1), probabilities.argmax(1) == right
    expected = 0.0
    for low in np.arange(15) / 15:
        is_in = (low < confidence) & (confidence <= low + 1 / 15)
        if is_in.any():
            expected += is_in.mean() * abs(is_right[is_in].mean() - confidence[is_in].mean())
    assert expected > 0.03
    assert value_of("ece", choices, references) == pytest.approx(expected)
    assert value_of("ece", choices[::-1], references[::-1]) == pytest.approx(expected)
    certain = [ClosedScores(("a", "b"), (0.0, -1e3))]
    assert value_of("ece", certain, ["b"]) == 1, "a confidence of 1 is in the last bin"


@pytest.mark.parametrize("num_answers", [3, 5])
def test_rates_of_several_answers_are_those_of_all_answers_as_trials(num_answers):
    sklearn = pytest.importorskip("sklearn.metrics")
    logs, right, choices, references = random_answers(2, num_answers)
    targets = np.eye(num_answers)[right].ravel()
    scores = logit(softmax(logs, axis=1)).ravel()
    assert value_of("auroc", choices, references) == pytest.approx(sklearn.roc_auc_score(targets, scores))
    false_alarms, hits, _ = sklearn.roc_curve(targets, scores)
    gap = np.abs(false_alarms - (1 - hits)).argmin()
    assert value_of("roc_eer", choices, references) == pytest.approx(false_alarms[gap], abs=2 / len(right))


def test_equal_scores_are_chance_and_one_target_is_enough_for_a_curve():
    same = binary(0.5, 0.5, 0.5)
    assert value_of("auroc", same, ["yes", "no", "no"]) == 0.5
    assert value_of("roc_eer", same, ["yes", "no", "no"]) == 0.5
