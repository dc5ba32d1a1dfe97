"""A stage that adapts its shares: killed at any step and resumed, on one rank or two, it takes the same path."""

import json

import pytest
from rich.console import Console

from audio_lm.checkpoints.discovery import newest_valid
from audio_lm.checkpoints.state import progress_of
from audio_lm.common.errors import DataError
from audio_lm.common.rng import random_for
from audio_lm.config.load import load_recipe
from audio_lm.run.train import train
from tests.run.observed_run import (
    STEPS,
    assert_equal_weights,
    read_observed,
    run_training,
    weights,
    write_recipe,
)

ONLINE = (
    "stages.pretrain.mixture.online.every=2",
    "stages.pretrain.mixture.online.lead_steps=4",
    "stages.pretrain.mixture.online.strength=2",
    "stages.pretrain.optimizer.kind=adamw",
)


@pytest.fixture(scope="module")
def recipe_path(small, tmp_path_factory):
    return write_recipe(tmp_path_factory.mktemp("online") / "online.yaml", small)


def path_of(out):
    """Decisions of a run, as its folder has them."""
    lines = (out / "stages/pretrain/online_shares.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def plan_of(out):
    """Order of examples of the newest checkpoint."""
    return progress_of(newest_valid(out / "stages/pretrain/checkpoints"))["plan"]


@pytest.fixture(scope="module")
def whole(recipe_path, tmp_path_factory):
    """Cuts, losses and folder of a run without interruption."""
    out = tmp_path_factory.mktemp("whole") / "run"
    cuts, losses, _ = run_training(recipe_path, out, 1, *ONLINE)
    return cuts, losses, out


def test_shares_change_and_every_decision_is_recorded(whole):
    path = path_of(whole[2])
    assert len(path) >= 3
    assert [line["step"] + 4 for line in path] == [line["from_step"] for line in path]
    assert len({line["shares"]["sec"] for line in path}) > 1
    for line in path:
        assert sum(line["shares"].values()) == pytest.approx(1)
    by_window = {position // plan_of(whole[2])["window"] for position, *_ in plan_of(whole[2])["segments"]}
    assert by_window >= {line["window"] for line in path}
    values = (whole[2] / "stages/pretrain/metrics.jsonl").read_text()
    assert "online_share/sec" in values
    assert "online_loss/mna" in values


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_that_is_killed_at_any_step_resumes_on_the_same_path(whole, recipe_path, tmp_path, workers):
    overrides = [*ONLINE, f"hardware.num_workers={workers}"]
    out, cuts, losses = tmp_path / "run", {}, {}
    kills = sorted(random_for("kills", workers).choice(range(1, STEPS), size=2, replace=False).tolist())
    for kill in [*kills, None]:
        more = ["resume=auto"] if kill != kills[0] else []
        done = run_training(recipe_path, out, 1, *overrides, *more, kill=kill)
        more_cuts, more_losses = read_observed(out, 1) if done is None else done[:2]
        cuts, losses = cuts | more_cuts, losses | more_losses
    assert (cuts, losses) == whole[:2]
    assert path_of(out) == path_of(whole[2])
    assert plan_of(out) == plan_of(whole[2])
    shares = "stages/pretrain/mixture.json"
    assert (out / shares).read_text() == (whole[2] / shares).read_text()
    assert_equal_weights(weights(out), weights(whole[2]))


@pytest.mark.slow
def test_two_ranks_take_the_path_of_one_and_resume_on_it(whole, recipe_path, tmp_path):
    cuts, losses, _ = run_training(recipe_path, tmp_path / "whole", 2, *ONLINE)
    assert cuts == whole[0]
    assert path_of(tmp_path / "whole") == path_of(whole[2])
    assert losses != whole[1]  # equal bits would mean that nothing was summed in another order
    out = tmp_path / "run"
    run_training(recipe_path, out, 2, *ONLINE, kill=5)
    first = read_observed(out, 2)
    more = run_training(recipe_path, out, 2, *ONLINE, "resume=auto")
    assert (first[0] | more[0], first[1] | more[1]) == (cuts, losses)
    assert path_of(out) == path_of(whole[2])
    run_training(recipe_path, tmp_path / "other", 2, *ONLINE, kill=5)
    _, _, output = run_training(recipe_path, tmp_path / "other", 1, *ONLINE, "resume=auto")
    assert "shares that are not decided yet follow from these losses, and may differ" in output


@pytest.mark.slow
def test_another_mixture_of_adapted_shares_is_refused(recipe_path, tmp_path):
    out = tmp_path / "run"
    run_training(recipe_path, out, 1, *ONLINE, kill=5)
    for override, message in [
        ("stages.pretrain.mixture.weights.mna=4", "whose shares are adapted"),
        ("stages.pretrain.mixture.online.strength=1", "online changed since it started"),
    ]:
        with pytest.raises(DataError, match=message):
            train(
                load_recipe(recipe_path, [*ONLINE, "resume=segment", override]),
                out=out,
                console=Console(quiet=True),
            )


@pytest.mark.slow
def test_a_run_for_more_steps_goes_on_along_the_path(recipe_path, tmp_path):
    overrides = [*ONLINE, "stages.pretrain.schedule.kind=constant", "stages.pretrain.schedule.warmup_steps=0"]
    cuts, losses, _ = run_training(recipe_path, tmp_path / "whole", 1, *overrides)
    short = tmp_path / "short"
    first = run_training(recipe_path, short, 1, *overrides, "stages.pretrain.steps=6")
    more = run_training(recipe_path, tmp_path / "longer", 1, *overrides, f"extends={short}")
    assert (first[0] | more[0], first[1] | more[1]) == (cuts, losses)
    assert path_of(tmp_path / "longer") == path_of(tmp_path / "whole")
