import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from audio_lm.data.config import OnlineConfig
from audio_lm.data.mixture.bandit import ShareBandit, apportion, exploration, within_bounds

WEIGHTS = {"asr": 0.5, "mna": 0.3, "sec": 0.2}
EQUAL = dict.fromkeys(WEIGHTS, 1 / 3)
LATE = 10**9  # a step without exploration


def bandit_of(**settings):
    return ShareBandit(OnlineConfig(**{"min_share": {}, **settings}), WEIGHTS)


def test_shares_are_those_of_the_weights_before_the_first_loss():
    assert bandit_of().shares(1) == WEIGHTS


def test_a_loss_higher_by_one_nat_is_drawn_e_times_as_often():
    bandit = bandit_of()
    bandit.observe({"asr": 2.0, "mna": 1.0, "sec": 1.0}, EQUAL)
    shares = bandit.shares(LATE)
    assert shares["asr"] / shares["mna"] == pytest.approx(math.e, rel=1e-3)
    assert shares["mna"] == shares["sec"]
    strong = bandit_of(strength=2, prior="weights")
    strong.observe({"asr": 2.0, "mna": 1.0, "sec": 1.0}, EQUAL)
    shares = strong.shares(LATE)
    assert shares["asr"] / shares["mna"] == pytest.approx(math.e**2 * 5 / 3, rel=1e-3)


def test_losses_can_be_divided_by_the_shares_they_were_measured_under():
    losses = {"asr": 1.0, "mna": 1.0, "sec": 2.0}
    plain, weighted = bandit_of(), bandit_of(importance_weights=True)
    plain.observe(losses, WEIGHTS)
    weighted.observe(losses, WEIGHTS)
    assert plain.rewards == losses
    assert weighted.rewards == pytest.approx({"asr": 2 / 3, "mna": 1 / 0.9, "sec": 2 / 0.6})


def test_rewards_are_smoothed_and_a_task_without_a_loss_keeps_its_own():
    bandit = bandit_of(smoothing=0.75)
    bandit.observe({"asr": 1.0, "mna": 2.0}, EQUAL)
    bandit.observe({"asr": 5.0}, EQUAL)
    assert bandit.rewards == pytest.approx({"asr": 2.0, "mna": 2.0})


def test_early_shares_are_explored_equally_and_the_floor_holds_later():
    bandit = bandit_of(min_share={"all": 0.05}, strength=20)
    bandit.observe({"asr": 9.0, "mna": 1.0, "sec": 1.0}, EQUAL)
    assert bandit.shares(1) == pytest.approx(EQUAL)
    late = bandit.shares(LATE)
    assert late == pytest.approx({"asr": 0.9, "mna": 0.05, "sec": 0.05})


def test_exploration_falls_with_the_root_of_the_step():
    assert exploration(5, 400) == pytest.approx(2 * exploration(5, 1600))
    assert exploration(5, 0) == exploration(5, 1) == 1 / 5


@given(st.lists(st.tuples(st.floats(1e-6, 1), st.floats(0, 0.1), st.floats(0.3, 1)), min_size=4, max_size=10))
def test_shares_within_bounds_sum_to_one_and_the_others_keep_their_proportions(rows):
    shares, lows, highs = map(list, zip(*rows, strict=True))
    found = within_bounds(shares, lows, highs)
    assert sum(found) == pytest.approx(1)
    free = []
    for share, low, high, ours in zip(shares, lows, highs, found, strict=True):
        assert low - 1e-9 <= ours <= high + 1e-9
        if low + 1e-6 < ours < high - 1e-6:
            free.append(ours / share)
    assert max(free, default=1) <= min(free, default=1) * (1 + 1e-6)


@given(
    st.lists(st.lists(st.floats(0.001, 1), min_size=4, max_size=4), min_size=1, max_size=30),
    st.integers(1, 40),
)
def test_over_windows_each_source_gets_its_share_to_within_two_draws(windows, num_positions):
    owed, counts, expected = [0.0] * 4, [0] * 4, [0.0] * 4
    for weights in windows:
        shares = [weight / sum(weights) for weight in weights]
        more, owed = apportion(shares, num_positions, owed)
        assert sum(more) == num_positions
        assert min(more) >= 0
        counts = [count + new for count, new in zip(counts, more, strict=True)]
        expected = [before + share * num_positions for before, share in zip(expected, shares, strict=True)]
        assert all(abs(count - share) < 2 for count, share in zip(counts, expected, strict=True))


def test_a_source_with_less_than_one_draw_in_a_window_is_drawn_in_some():
    owed, total = [0.0, 0.0], 0
    for _ in range(10):
        (_, rare), owed = apportion([0.98, 0.02], 10, owed)
        total += rare
    assert total == 2
    assert apportion([1.0, 0.0], 3, [0.0, 5.0]) == ([3, 0], [0.0, 0.0])


@pytest.mark.parametrize("step", [1, 50, 5000])
@pytest.mark.parametrize("prior", ["weights", "equal"])
def test_shares_are_a_softmax_of_rewards_mixed_with_exploration(step, prior):
    """Equation of Exp3 with the exploration of Online Data Mixing."""
    bandit = bandit_of(strength=1.5, prior=prior)
    losses = {"asr": 0.4, "mna": 2.5, "sec": 1.1}
    bandit.observe(losses, EQUAL)
    logits = 1.5 * np.array([*losses.values()])
    if prior == "weights":
        logits += np.log([*WEIGHTS.values()])
    mixed = min(1 / 3, math.sqrt(math.log(3) / (3 * step)))
    expected = (1 - 3 * mixed) * softmax(logits) + mixed
    assert [*bandit.shares(step).values()] == pytest.approx(expected)
