import pytest

from audio_lm.config.load import load_recipe
from audio_lm.preview.estimate import estimate_stages
from audio_lm.sweep.load import load_sweep
from audio_lm.sweep.sizes import StageSizes
from tests.sweep.small_sweeps import write_sweep


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return load_sweep(write_sweep(tmp_path))


def test_the_epochs_of_a_trial_are_those_of_the_plan_of_its_recipe(sweep):
    trial = sweep.trial("000", "design", {"sec": 0.1, "mna": 0.2, "mgr": 0.7})
    (stage,) = estimate_stages(load_recipe(sweep.recipe, trial.overrides).recipe)
    expected = {(leaf.task, leaf.source): leaf.passes for leaf in stage.leaves}
    assert sweep.epochs(trial.shares) == pytest.approx(expected, rel=2e-3)


def test_rows_that_are_limited_are_repeated_more_often(sweep):
    mixture = sweep.mixture(sweep.shares.of_recipe)
    epochs = sweep.sizes.epochs(mixture, 100)
    limited = sweep.sizes.epochs(
        type(mixture)(**vars(mixture) | {"max_rows": {"my/notes-train": 1200, "my/events-train": 99_999}}),
        100,
    )
    assert limited["mna", "my/notes-train"] == pytest.approx(10 * epochs["mna", "my/notes-train"])
    assert limited["sec", "my/events-train"] == epochs["sec", "my/events-train"]


def test_answer_tokens_are_converted_to_steps_of_each_mixture(small):
    sizes = StageSizes.from_recipe(small, "pretrain", counts_answers=True)
    mixture = small.stages["pretrain"].mixture
    assert sizes.learned_tokens["mna"] > sizes.learned_tokens["sec"] > 0
    few, twice = (sizes.steps_for(mixture, tokens) for tokens in (100_000, 200_000))
    assert twice == pytest.approx(2 * few, abs=1)
    per_step = 100_000 / few
    draws = sizes.draws(mixture, few)
    learned = sum(
        count * sizes.learned_tokens[leaf.task] for count, leaf in zip(draws, sizes.leaves, strict=True)
    )
    assert learned / few == pytest.approx(per_step, rel=0.02)
    only = type(mixture)(**vars(mixture) | {"weights": {"sec": 0.01, "mna": 1.0}})
    assert sizes.steps_for(only, 100_000) != few
