import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_lm.config.overrides import apply_overrides
from audio_lm.config.yaml_layers import Layer
from audio_lm.data.config import MixtureConfig, TemperatureConfig
from audio_lm.data.mixture.weights import task_shares
from audio_lm.sweep.simplex import simplex_grid
from audio_lm.sweep.space import LEAST_SHARE, ShareSpace, Space, rounded_shares

TASKS = ("asr", "aac", "lid", "mna")
WEIGHTS = {"asr": 3.0, "aac": 1.0, "lid": 1.0, "mna": 5.0}
GROUPS = {"speech": ["asr", "lid"], "sound": ["aac"], "music": ["mna"]}
POINT = {"asr": 0.2, "aac": 0.7, "lid": 0.1}


def mixture(**settings):
    sources = {task: [f"my/{task}-train"] for task in TASKS}
    return MixtureConfig(sources=sources, weights=WEIGHTS, **settings)


def space(names=("asr", "aac", "lid"), **settings):
    return ShareSpace("s", names, mixture(**settings), (0.0,) * len(names), (1.0,) * len(names))


def shares_of(config):
    return task_shares(config, config.weights, config.weights)


MIXTURES = {
    "plain": {},
    "temperature": {"temperature": TemperatureConfig(tasks=2.5)},
    "groups": {"groups": GROUPS},
    "group weights and temperatures": {
        "groups": GROUPS,
        "group_weights": {"speech": 2.0, "music": 7.0},
        "temperature": TemperatureConfig(groups=3.0, tasks=0.5),
    },
}


@pytest.mark.parametrize("settings", MIXTURES.values(), ids=MIXTURES)
def test_varied_tasks_have_the_stated_shares_and_the_others_keep_theirs(settings):
    own = space(**settings)
    before, after = shares_of(own.mixture), shares_of(own.with_shares(POINT))
    assert sum(after.values()) == pytest.approx(1)
    assert after["mna"] == pytest.approx(before["mna"], rel=1e-5)
    for task, share in POINT.items():
        assert after[task] == pytest.approx(share * (1 - before["mna"]), rel=1e-5)


@pytest.mark.parametrize("settings", MIXTURES.values(), ids=MIXTURES)
def test_overrides_set_the_same_mixture(settings):
    own, problems = space(**settings), []
    table = {"weights": dict(own.mixture.weights), "group_weights": dict(own.mixture.group_weights)}
    layer = Layer({"stages": {"s": {"mixture": table}}})
    apply_overrides(layer, own.overrides(POINT), problems)
    assert not problems
    table = layer.tree["stages"]["s"]["mixture"]
    changed = own.with_shares(POINT)
    assert table["weights"] == changed.weights
    assert table["group_weights"] == changed.group_weights


def test_groups_are_varied_as_wholes():
    own = space(("speech", "sound"), groups=GROUPS)
    after = shares_of(own.with_shares({"speech": 0.9, "sound": 0.1}))
    assert after["mna"] == pytest.approx(0.5)
    assert after["asr"] + after["lid"] == pytest.approx(0.45)
    assert after["asr"] / after["lid"] == pytest.approx(3), "within a group nothing changes"
    assert own.tasks_of(["speech"]) == ["asr", "lid"]
    assert own.of_recipe == pytest.approx({"speech": 0.8, "sound": 0.2})


def test_the_recipes_own_point_gives_its_own_shares():
    own = space()
    assert own.of_recipe == pytest.approx({"asr": 0.6, "aac": 0.2, "lid": 0.2})
    assert shares_of(own.with_shares(own.of_recipe)) == pytest.approx(shares_of(own.mixture))


def test_a_share_of_zero_keeps_its_task_in_the_mixture():
    after = shares_of(space().with_shares({"asr": 1.0, "aac": 0.0, "lid": 0.0}))
    assert after["aac"] == pytest.approx(LEAST_SHARE, rel=1e-4)
    assert after["mna"] == pytest.approx(0.5, abs=1e-5)


def test_a_task_that_is_not_varied_and_has_weight_0_stays_out():
    weights = WEIGHTS | {"mna": 0.0}
    own = ShareSpace(
        "s", ("asr", "aac", "lid"), MixtureConfig(mixture().sources, weights), (0,) * 3, (1,) * 3
    )
    assert own.with_shares(POINT).weights["mna"] == 0


def test_a_point_within_the_bounds_is_not_moved():
    own = space()
    assert own.nearest(POINT) == pytest.approx(POINT)
    assert own.contains(POINT)


def test_excess_over_a_bound_goes_to_the_others_in_proportion():
    own = ShareSpace("s", ("asr", "aac", "lid"), mixture(), (0.0, 0.0, 0.0), (1.0, 0.4, 1.0))
    assert own.nearest(POINT) == pytest.approx({"asr": 0.4, "aac": 0.4, "lid": 0.2}, abs=1e-5)
    assert not own.contains(POINT)


@given(st.lists(st.floats(0.001, 1), min_size=2, max_size=30))
def test_rounded_shares_sum_to_one(weights):
    shares = rounded_shares({str(number): weight / sum(weights) for number, weight in enumerate(weights)})
    assert math.isclose(sum(shares.values()), 1, abs_tol=1e-12)
    assert min(shares.values()) >= 0


def test_a_grid_has_all_points():
    points = simplex_grid(3, 4)
    assert len(points) == len(set(points)) == math.comb(6, 2)
    assert all(sum(point) == pytest.approx(1) for point in points)


def test_settings_equal_to_the_recipes_own_need_no_override():
    own = Space(None, {}, {"a.b": "tags", "c": None})
    assert own.overrides({}, {"a.b": "tags", "c": 0.9}) == ("c=0.9",)
    assert own.overrides({}, {"a.b": "chatml", "c": None}) == ('a.b="chatml"',)
