"""Acceptance: with matched repetition, small trials find the mixture of the full run; without it they do not."""

import math
from dataclasses import replace

import numpy as np
import pytest

from audio_lm.common.rng import random_for
from audio_lm.config.load import load_recipe
from audio_lm.data.mixture.schedule import PackSchedule, segments_of
from audio_lm.pipeline.plan_stage import rules_of
from audio_lm.preview.estimate import estimate_stages
from audio_lm.sweep.design import first_trials
from audio_lm.sweep.load import load_sweep
from audio_lm.sweep.sizes import StageSizes
from tests.sweep.small_sweeps import write_recipe, write_sweep

GOOD, LARGE = ("mna", "my/notes-train"), ("sec", "my/events-train")
GOOD_ROWS = 34_000
TWO_SOURCES = {
    "sec: [my/events-train], mna: [my/notes-train], mgr: [my/melodies-train], asc: [my/scenes-train]": (
        "sec: [my/events-train], mna: [my/notes-train]"
    ),
    "sec: 2, mna: 1, mgr: 1, asc: 1": "sec: 1, mna: 1",
    "        my/melodies-train: {hours: 1, clips: 1200}\n": "",
    "        my/scenes-train: {hours: 10, clips: 12000}\n": "",
    "{hours: 10, clips: 12000}\n        my/notes-train: {hours: 10, clips: 12000}": (
        f"{{hours: 1000, clips: 1200000}}\n        my/notes-train: {{hours: {GOOD_ROWS / 1200}, clips: {GOOD_ROWS}}}"
    ),
}
SWEEP_OF_TWO = {
    "over: [sec, mna, mgr]": "over: [sec, mna]",
    "  events/acc: {direction: max}\n": "",
}
GRID = "design: {kind: grid, divisions: 20}\nrepeats: 0\n"


@pytest.fixture
def make_sweep(tmp_path, monkeypatch):
    """Function that loads a sweep of a good small source and a large one; a trial has a hundredth of the full steps."""
    monkeypatch.chdir(tmp_path)
    write_recipe(tmp_path, replace=TWO_SOURCES)
    write_recipe(tmp_path, "full", steps=10_000, replace=TWO_SOURCES)

    def make(*, matched, more=GRID):
        more += "match_epochs_of: full.yaml\n" if matched else ""
        return load_sweep(write_sweep(tmp_path, more, replace=SWEEP_OF_TWO))

    return make


def full_sizes():
    return StageSizes.from_recipe(load_recipe("full.yaml").recipe, "pretrain")


def design(sweep):
    return [trial for trial in first_trials(sweep) if trial.purpose == "design"]


def test_each_source_is_repeated_as_often_as_in_the_full_size_recipe(make_sweep):
    sweep, full = make_sweep(matched=True), full_sizes()
    for trial in design(sweep)[1:-1]:
        recipe = load_recipe(sweep.recipe, trial.overrides).recipe
        (stage,) = estimate_stages(recipe)
        in_full = full.epochs(sweep.shares.with_shares(trial.shares), 10_000)
        for leaf in stage.leaves:
            expected = in_full[leaf.task, leaf.source]
            assert leaf.passes == pytest.approx(expected, rel=0.03), (trial.shares, leaf.source)
        assert sweep.epochs_in_full(trial.shares) == pytest.approx(in_full)


def test_without_matching_a_small_trial_repeats_nothing(make_sweep):
    sweep = make_sweep(matched=False)
    trial = next(trial for trial in design(sweep) if trial.shares["mna"] == 0.5)
    assert not any("max_rows" in override for override in trial.overrides)
    assert max(sweep.epochs(trial.shares).values()) < 0.1
    assert sweep.epochs_in_full(trial.shares) is None
    matched = make_sweep(matched=True)
    assert matched.epochs(trial.shares)[GOOD] == pytest.approx(3.34, abs=0.05)


def test_a_trial_as_long_as_the_full_run_keeps_all_rows(make_sweep):
    sweep = make_sweep(matched=True, more=GRID + "budget: {steps: 10_000}\n")
    assert sweep.mixture(sweep.shares.of_recipe).max_rows == {}
    longer = make_sweep(matched=True, more=GRID + "budget: {steps: 20_000}\n")
    assert longer.mixture(longer.shares.of_recipe).max_rows == {}


def test_limited_rows_do_not_change_the_shares_of_sources(make_sweep):
    sweep = make_sweep(matched=True)
    (trial, *_) = design(sweep)
    before, after = (
        [
            leaf.share_of_clips
            for leaf in next(estimate_stages(load_recipe(sweep.recipe, given).recipe)).leaves
        ]
        for given in ([one for one in trial.overrides if "max_rows" not in one], trial.overrides)
    )
    assert after == pytest.approx(before)


# A simulated learner with an analytic optimum. Repeated data counts less and less: U rows in e epochs are worth
# U * (1 + R (1 - exp(-(e - 1) / R))) fresh rows (Muennighoff et al., arXiv:2305.16264, equation 5), and a row of the good
# source is worth QUALITY rows of the large one. The best share repeats the good source 1 + R ln(QUALITY) times.
R, QUALITY = 2.0, 3.0


def simulated_loss(draws, rows):
    worth = 0.0
    for leaf, quality in ((GOOD, QUALITY), (LARGE, 1.0)):
        epochs = draws[leaf] / rows[leaf]
        fresh = draws[leaf] if epochs <= 1 else rows[leaf] * (1 + R * (1 - math.exp((1 - epochs) / R)))
        worth += quality * fresh
    return 1.5 + worth**-0.3


def draws_and_rows(sweep, trial):
    """Numbers of a trial as `audio-lm plan` states them for its overrides."""
    (stage,) = estimate_stages(load_recipe(sweep.recipe, trial.overrides).recipe)
    draws = {(leaf.task, leaf.source): leaf.expected_clips for leaf in stage.leaves}
    return draws, {(leaf.task, leaf.source): leaf.clips for leaf in stage.leaves}


def simulated_choice(sweep):
    losses = {trial.shares["mna"]: simulated_loss(*draws_and_rows(sweep, trial)) for trial in design(sweep)}
    return min(losses, key=lambda share: losses[share])


@pytest.mark.slow
def test_matched_repetition_finds_the_known_optimum_of_a_simulated_learner(make_sweep):
    full = full_sizes()
    num_draws = sum(full.draws(full.stage.mixture, 10_000))
    optimum = (1 + R * math.log(QUALITY)) * GOOD_ROWS / num_draws
    assert 0.3 < optimum < 0.7, "control: within the simplex"
    assert abs(simulated_choice(make_sweep(matched=True)) - optimum) <= 0.05
    assert abs(simulated_choice(make_sweep(matched=False)) - optimum) > 0.2


# A trained model: least squares on the rows that the schedule draws, as often as it draws them. Labels of the good source
# have variance 1, those of the large one NOISE. A share s of N draws on U good rows, each drawn at least once, gives the
# expected error (s^2 / U + NOISE (1 - s) / N) per weight, so the best share is NOISE / 2 * U / N.
NOISE, WIDTH, NUM_PROBLEMS = 6.0, 8, 10


def trained_error(sweep, trial):
    """Squared error of the weights trained on the rows of a trial: expected over labels, mean over several inputs."""
    mixture, sizes = sweep.mixture(trial.shares), sweep.sizes
    leaves = [
        replace(leaf, num_rows=min(leaf.num_rows, mixture.max_rows.get(leaf.source, leaf.num_rows)))
        for leaf in sizes.leaves
    ]
    rules = rules_of(sizes.stage)
    segments, num_positions = segments_of(mixture, leaves, rules, steps=sweep.steps(trial.shares))
    names, num_rows = [leaf.source for leaf in leaves], [leaf.num_rows for leaf in leaves]
    schedule = PackSchedule(names, num_rows, [OneLength()] * 2, segments, rules, window=100, seed=0)
    sources, rows, _ = schedule.draws(0, num_positions)
    drawn, counts = np.unique(np.stack([sources, rows]), axis=1, return_counts=True)
    is_good = np.array([leaf.task == "mna" for leaf in leaves])[drawn[0]]
    variance = np.where(is_good, 1.0, NOISE)
    errors = []
    for problem in range(NUM_PROBLEMS):
        inputs = random_for("least squares", problem).normal(size=(len(counts), WIDTH))
        weighted = inputs * counts[:, None]
        weights_of_labels = np.linalg.solve(inputs.T @ weighted, weighted.T)
        errors.append((weights_of_labels**2 @ variance).sum())
    return float(np.mean(errors))


class OneLength:
    num_choices = 1


def trained_choice(sweep):
    """Share with the smallest error on a smooth curve through the errors."""
    points = [(trial.shares["mna"], trained_error(sweep, trial)) for trial in design(sweep)]
    shares, errors = np.array(points).T
    curve = np.polynomial.Polynomial.fit(shares, errors, 4)
    fine = np.linspace(0, 1, 1001)
    return float(fine[curve(fine).argmin()])


def test_matched_repetition_finds_the_optimum_of_a_trained_model(make_sweep):
    full = full_sizes()
    optimum = NOISE / 2 * GOOD_ROWS / sum(full.draws(full.stage.mixture, 10_000))
    assert 0.3 < optimum < 0.7, "control: within the simplex"
    assert abs(trained_choice(make_sweep(matched=True)) - optimum) <= 0.05
    assert abs(trained_choice(make_sweep(matched=False)) - optimum) > 0.2
