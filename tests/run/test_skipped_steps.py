"""A step or clips that one of two ranks cannot use are skipped on both, and nothing else changes."""

import json

import pytest
import torch
from lightning import Callback

from audio_lm.common.errors import DataError
from audio_lm.data.audio import faults
from audio_lm.data.datamodule import PackDataset
from audio_lm.training import next_token, step
from tests.run.observed_run import equal_weights, run_command, weights

pytestmark = pytest.mark.slow
STEP = 3  # the fourth


def curve(out, name):
    lines = (out / "stages" / "pretrain" / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return {row["step"]: row["values"][name] for row in rows if name in row["values"]}


class NonfiniteGradient(Callback):
    """Sets one value of one gradient to NaN, after the first pack of a step."""

    def on_after_backward(self, trainer, module):
        if trainer.global_step == STEP:
            next(weight for weight in module.parameters() if weight.grad is not None).grad.view(-1)[0] = (
                float("nan")
            )


def break_the_second_rank(number):
    return [NonfiniteGradient()] if number else []


def skip_the_step(number):
    """Skip the forward and backward pass of the step."""
    training_step_of_module = next_token.NextTokenModule.training_step

    def training_step(self, packs, batch_idx):
        if self.global_step == STEP:
            self.optimizers().step()
            self.lr_schedulers().seek(STEP + 1)
        else:
            training_step_of_module(self, packs, batch_idx)

    next_token.NextTokenModule.training_step = training_step


def train_on_it(number):
    step.gradient_norm = lambda parameters: torch.ones((), dtype=torch.float64)
    return break_the_second_rank(number)


def test_a_nonfinite_gradient_on_one_rank_costs_both_ranks_only_that_step(
    observed_recipe, undisturbed, tmp_path
):
    broken = run_command(observed_recipe, tmp_path / "broken", 2, fault=break_the_second_rank)
    assert broken.codes == [0, 0], broken.output
    without = run_command(observed_recipe, tmp_path / "without", 2, fault=skip_the_step)
    assert without.codes == [0, 0], without.output
    assert broken.losses == without.losses
    assert equal_weights(tmp_path / "broken", tmp_path / "without")
    assert set(curve(tmp_path / "broken", "nonfinite_steps").items()) >= {(2, 0.0), (3, 1.0), (5, 1.0)}
    whole, out = undisturbed
    assert [step for step, loss in whole.losses.items() if broken.losses[step] == loss] == [1, 2, 3]
    assert not equal_weights(tmp_path / "broken", out), "or the step would not count"
    learned = run_command(observed_recipe, tmp_path / "learned", 2, fault=train_on_it)
    assert learned.codes == [0, 0], learned.output
    values = [value for part in weights(tmp_path / "learned").values() for value in part.values()]
    assert not all(bool(torch.isfinite(value).all()) for value in values), "the control"


def unreadable_for(ranks, packs):
    """Fault: some ranks cannot read the audio of some packs of the fourth step."""

    def fault(number):
        fetch, load, steps = PackDataset.__getitem__, faults.load_waves, []

        def fail(cut):
            raise DataError(f"{cut.id} is missing")

        def fetch_or_fail(self, step):
            steps.append(step)
            if len(steps) != STEP + 1 or number not in ranks:
                return fetch(self, step)
            fetched = []
            for place, pack in enumerate(step):
                faults.load_waves = fail if place in packs else load
                fetched += fetch(self, [pack])
            faults.load_waves = load
            return tuple(fetched)

        PackDataset.__getitem__ = fetch_or_fail

    return fault


def test_unreadable_packs_of_one_rank_block_no_rank_and_have_no_weight_in_the_loss(
    observed_recipe, undisturbed, tmp_path
):
    allowed = "stages.pretrain.max_bad_fraction=0.9"
    broken = run_command(observed_recipe, tmp_path / "two", 2, allowed, fault=unreadable_for({1}, {0, 1}))
    assert broken.codes == [0, 0], broken.output
    whole, _ = undisturbed
    assert broken.cuts == whole.cuts
    rows = (tmp_path / "two" / "stages" / "pretrain" / "bad_audio.jsonl").read_text().splitlines()
    assert [json.loads(row)["cut"] for row in rows] == [
        cut for pack in whole.cuts[STEP + 1][2:] for cut in pack
    ]
    alone = run_command(observed_recipe, tmp_path / "one", 1, allowed, fault=unreadable_for({0}, {2, 3}))
    assert broken.losses == {step: pytest.approx(loss, rel=1e-6) for step, loss in alone.losses.items()}
    assert broken.losses[STEP + 1] != pytest.approx(whole.losses[STEP + 1], rel=1e-6), "the control"
    assert [step for step in whole.losses if broken.losses[step] == whole.losses[step]] == [1, 2, 3]
