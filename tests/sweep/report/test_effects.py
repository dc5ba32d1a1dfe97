import numpy as np
import pytest

from audio_lm.sweep.report.effects import STEP, difference, transfer_matrix
from tests.sweep.report.conftest import known_view

RECIPE = 2


def matrix_of(view):
    return transfer_matrix(view, view.fit.table.shares[RECIPE])


def test_an_effect_is_the_difference_of_the_surface_over_ten_points():
    view = known_view()
    shares = view.fit.table.shares[RECIPE]
    effect = matrix_of(view)["val_loss/asr"][0]
    assert effect.end - effect.start == pytest.approx(STEP)
    assert (effect.start + effect.end) / 2 == pytest.approx(shares[0])
    rest = shares[1] / (1 - shares[0])
    losses = [
        1 - 0.25 * np.log(share + 0.05) + 0.08 * (1 - share) * rest for share in (effect.start, effect.end)
    ]
    assert effect.per_step[0] == pytest.approx(losses[1] - losses[0])
    assert effect.is_named
    assert effect.difference.is_better


def test_a_score_improves_with_the_share_of_its_task():
    effect = matrix_of(known_view())["events_sec/acc"][2]
    assert effect.per_step[0] > 0
    assert effect.difference.is_better


def test_a_difference_under_twice_the_noise_is_not_named():
    for noise, is_named in ((0.02, True), (0.2, False)):
        effect = matrix_of(known_view(noise=noise))["val_loss/asr"][0]
        assert effect.is_named is is_named, (noise, effect)
    assert effect.why_unnamed == "within noise"


def test_nothing_is_named_if_the_noise_is_not_known():
    effects = [effect for row in matrix_of(known_view(noise=0)).values() for effect in row]
    assert {effect.why_unnamed for effect in effects} == {"noise unknown"}


def test_a_difference_whose_interval_includes_zero_is_not_named():
    sure, unsure = (
        matrix_of(known_view(deviation=deviation))["val_loss/asr"][0] for deviation in (0.001, 0.5)
    )
    assert sure.is_named
    assert not unsure.is_named
    assert unsure.difference.low < 0 < unsure.difference.high


def test_a_share_that_the_bounds_fix_has_no_effect():
    view = known_view(bounds=(1 / 3, 1 / 3))
    effects = transfer_matrix(view, np.full(3, 1 / 3))["val_loss/asr"]
    assert [effect.per_step for effect in effects] == [None] * 3
    assert effects[0].why_unnamed == "share fixed"


def test_narrow_bounds_shorten_the_step_and_the_change_is_scaled_to_ten_points():
    view = known_view(bounds=(0.3, 0.36))
    effect = transfer_matrix(view, np.full(3, 1 / 3))["val_loss/asr"][0]
    assert 0.3 <= effect.start < effect.end <= 0.36
    scale = STEP / (effect.end - effect.start)
    assert effect.per_step[0] == pytest.approx(scale * effect.difference.change)


def test_a_mixture_does_not_differ_from_itself(view):
    shares = view.fit.best.shares
    same = difference(view, "objective", shares, shares)
    assert same.change == 0
    assert not same.is_named
