from dataclasses import replace

import numpy as np
import pytest

from audio_lm.config.load import load_recipe
from audio_lm.sweep.config import KeyConfig
from audio_lm.sweep.design import design_points, first_trials, proportions
from audio_lm.sweep.load import load_sweep
from audio_lm.sweep.trial import FIRST
from tests.sweep.small_sweeps import write_recipe, write_sweep


@pytest.fixture
def make_sweep(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *args, **settings: load_sweep(write_sweep(tmp_path, *args, **settings))


def with_design(sweep, **settings):
    return replace(sweep, config=replace(sweep.config, design=replace(sweep.config.design, **settings)))


def test_a_sweep_starts_with_four_mixtures_and_three_repeats(make_sweep):
    sweep = make_sweep()
    trials = first_trials(sweep)
    assert [trial.purpose for trial in trials[:7]] == [*FIRST, "repeat", "repeat", "repeat"]
    assert [trial.name for trial in trials] == [f"{number:03d}" for number in range(len(trials))]
    assert len(trials) == 7 + 9, "three for each varied task"
    shares = {trial.purpose: trial.shares for trial in trials[:4]}
    assert shares["uniform"] == pytest.approx(dict.fromkeys(sweep.space.names, 1 / 3), abs=1e-5)
    assert shares["proportional"] == pytest.approx({"sec": 10 / 21, "mna": 10 / 21, "mgr": 1 / 21}, abs=1e-5)
    assert shares["recipe"] == pytest.approx({"sec": 0.5, "mna": 0.25, "mgr": 0.25})
    assert max(shares["bad"].values()) == 1


def test_repeats_differ_from_the_recipes_trial_in_their_seed_only(make_sweep):
    trials = first_trials(make_sweep("seed: 7\n"))
    (own,) = (trial for trial in trials if trial.purpose == "recipe")
    repeats = [trial for trial in trials if trial.purpose == "repeat"]
    assert [trial.seed for trial in repeats] == [8, 9, 10]
    for repeat in repeats:
        assert repeat.shares == own.shares
        assert repeat.overrides[:-1] == own.overrides[:-1]
    assert {trial.seed for trial in trials if trial.purpose != "repeat"} == {7}


def test_the_overrides_of_a_trial_load_with_the_base_recipe(make_sweep):
    sweep = make_sweep("budget: {steps: 30}\noverrides: [stages.pretrain.pack_tokens=3000]\nseed: 4\n")
    for trial in first_trials(sweep)[:6]:
        recipe = load_recipe(sweep.recipe, trial.overrides).recipe
        stage = recipe.stages["pretrain"]
        assert (recipe.seed, stage.steps, stage.pack_tokens) == (trial.seed, 30, 3000)
        weights = stage.mixture.weights
        assert weights["asc"] / sum(weights.values()) == pytest.approx(0.2, rel=1e-4)
        for task, share in trial.shares.items():
            assert weights[task] / sum(weights.values()) == pytest.approx(0.8 * share, abs=2e-6)


def test_more_trials_add_points_and_change_none(make_sweep):
    sweep = make_sweep()
    few, many = (list(design_points(with_design(sweep, trials=trials))) for trials in (4, 12))
    assert many[:4] == few
    other = list(design_points(with_design(sweep, trials=4, seed=1)))
    assert not any(point in few for point in other)


def test_sampled_points_lie_around_the_proportions_with_several_strengths(make_sweep):
    sweep = with_design(make_sweep(), trials=3000, strengths=[0.3, 5.0])
    points = np.array([[*shares.values()] for shares, _ in design_points(sweep)])
    center = np.array([*proportions(sweep, sweep.shares).values()])
    assert points.mean(axis=0) == pytest.approx(center, abs=0.05)
    wide, narrow = points[::2].std(axis=0), points[1::2].std(axis=0)
    assert (wide > 2 * narrow).all()


def test_sampled_points_are_within_the_bounds(make_sweep):
    bounds = "over: [sec, mna, mgr]\n    min: {mgr: 0.2}\n    max: {sec: 0.3}"
    sweep = make_sweep(replace={"over: [sec, mna, mgr]": bounds})
    for trial in first_trials(sweep):
        if trial.purpose in ("recipe", "repeat"):
            continue  # the recipe's own mixture is run as it is
        assert trial.shares["mgr"] >= 0.25 - 1e-6
        assert trial.shares["sec"] <= 0.375 + 1e-6


def test_no_sampled_point_repeats_a_source_too_often(make_sweep):
    sweep = make_sweep(replace={"over: [sec, mna, mgr]": "over: [sec, mna, mgr]\n    max_epochs: 1"})
    assert max(sweep.epochs(sweep.shares.of_recipe).values()) < 1
    points = [shares for shares, _ in design_points(with_design(sweep, trials=300, strengths=[0.5]))]
    assert max(max(sweep.epochs(shares).values()) for shares in points) <= 1.01
    free = [shares for shares, _ in design_points(with_design(make_sweep(), trials=300, strengths=[0.5]))]
    assert max(max(sweep.epochs(shares).values()) for shares in free) > 1, "the limit has an effect"


def test_a_grid_has_all_points_within_the_bounds_and_all_settings(make_sweep):
    sweep = make_sweep("design: {kind: grid, divisions: 2}\n", replace={"vary:\n": KEYS})
    points = list(design_points(sweep))
    assert len(points) == 6 * 2
    assert {settings["stages.pretrain.parts.encoder.lr"] for _, settings in points} == {1e-3, 3e-3}


KEYS = "vary:\n  keys:\n    stages.pretrain.parts.encoder.lr: {values: [1e-3, 3e-3]}\n"


def test_a_list_is_normalized(make_sweep):
    sweep = make_sweep("design: {kind: list, points: [{sec: 1, mna: 1}, {mgr: 2, sec: 2, mna: 4}]}\n")
    points = [shares for shares, _ in design_points(sweep)]
    assert points == [{"sec": 0.5, "mna": 0.5, "mgr": 0}, {"sec": 0.25, "mna": 0.5, "mgr": 0.25}]


def test_listed_values_are_used_up_before_one_returns_and_ranges_are_logarithmic(make_sweep):
    sweep = make_sweep()
    keys = {"a": KeyConfig(values=["x", "y", "z"]), "b": KeyConfig(log_range=[1e-4, 1e-2])}
    sweep = replace(sweep, space=replace(sweep.space, keys=keys, own_settings={"a": "x", "b": 1e-3}))
    settings = [each for _, each in design_points(with_design(sweep, trials=300))]
    values = [each["a"] for each in settings]
    assert all({*values[at : at + 3]} == {"x", "y", "z"} for at in range(0, 300, 3))
    rates = np.log10([each["b"] for each in settings])
    assert rates.min() >= -4
    assert rates.max() <= -2
    assert rates.mean() == pytest.approx(-3, abs=0.15)


def test_a_sweep_of_keys_alone_has_the_recipe_and_its_repeats(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_recipe(tmp_path)
    path = tmp_path / "keys.yaml"
    path.write_text(f"recipe: base.yaml\n{KEYS}metrics: {{val_loss/sec: {{}}}}\ndesign: {{kind: grid}}\n")
    trials = first_trials(load_sweep(path))
    assert [trial.purpose for trial in trials] == ["recipe", "repeat", "repeat", "repeat", "design", "design"]
    assert trials[0].settings == {"stages.pretrain.parts.encoder.lr": 1e-3}
    assert trials[-1].overrides == ("stages.pretrain.parts.encoder.lr=0.003", "seed=0")


def test_tpe_has_no_points_before_it_runs(make_sweep):
    trials = first_trials(make_sweep("design: {kind: tpe, trials: 10}\n"))
    assert {trial.purpose for trial in trials} == {*FIRST, "repeat"}
