"""What one of two ranks cannot use, a step or its clips, is left out on both, and nothing else changes."""

import json
from types import SimpleNamespace

import pytest
import torch
from lightning import Callback

from audio_lm.common.errors import DataError
from audio_lm.data.audio import faults
from audio_lm.data.datamodule import PackDataset
from audio_lm.training import next_token
from tests.run.carried import command, equal_weights, weights

pytestmark = pytest.mark.slow
STEP = 3  # the fourth


def curve(out, name):
    lines = (out / "stages" / "pretrain" / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return {row["step"]: row["values"][name] for row in rows if name in row["values"]}


class Spoil(Callback):
    """One value of one gradient, after the first of a step's packs."""

    def on_after_backward(self, trainer, module):
        if trainer.global_step == STEP:
            next(one for one in module.parameters() if one.grad is not None).grad.view(-1)[0] = float("nan")


def spoil_at_the_second(number):
    return [Spoil()] if number else []


def leave_out_the_step(number):
    """What a run is like in which the step is not learned from."""
    learn = next_token.NextTokenModule.training_step

    def training_step(self, packs, batch_idx):
        if self.global_step == STEP:
            self.optimizers().step()
        else:
            learn(self, packs, batch_idx)

    next_token.NextTokenModule.training_step = training_step


def learn_all_the_same(number):
    next_token.math = SimpleNamespace(isfinite=lambda norm: True)
    return spoil_at_the_second(number)


def test_a_gradient_that_is_not_finite_on_one_rank_costs_both_the_step_and_no_more(
    carried_recipe, undisturbed, tmp_path
):
    spoiled = command(carried_recipe, tmp_path / "spoiled", 2, fault=spoil_at_the_second)
    assert spoiled.codes == [0, 0], spoiled.said
    without = command(carried_recipe, tmp_path / "without", 2, fault=leave_out_the_step)
    assert without.codes == [0, 0], without.said
    assert spoiled.losses == without.losses
    assert equal_weights(tmp_path / "spoiled", tmp_path / "without")
    assert set(curve(tmp_path / "spoiled", "nonfinite_steps").items()) >= {(2, 0.0), (3, 1.0), (5, 1.0)}
    whole, out = undisturbed
    assert [step for step, loss in whole.losses.items() if spoiled.losses[step] == loss] == [1, 2, 3]
    assert not equal_weights(tmp_path / "spoiled", out), "or the step would not count"
    learned = command(carried_recipe, tmp_path / "learned", 2, fault=learn_all_the_same)
    assert learned.codes == [0, 0], learned.said
    values = [value for part in weights(tmp_path / "learned").values() for value in part.values()]
    assert not all(bool(torch.isfinite(value).all()) for value in values), "the control"


def unreadable_for(ranks, packs):
    """A disk from which nothing comes for the fourth step, or for some of its packs."""

    def fault(number):
        fetch, load, fetched = PackDataset.__getitem__, faults.load_waves, []

        def gone(cut):
            raise DataError(f"{cut.id} is gone")

        def fetch_or_not(self, turns):
            fetched.append(turns)
            if len(fetched) != STEP + 1 or number not in ranks:
                return fetch(self, turns)
            answers = []
            for place, pack in enumerate(turns):
                faults.load_waves = gone if place in packs else load
                answers += fetch(self, [pack])
            faults.load_waves = load
            return tuple(answers)

        PackDataset.__getitem__ = fetch_or_not

    return fault


def test_packs_of_one_rank_that_cannot_be_read_at_all_hold_nobody_up_and_count_nothing(
    carried_recipe, undisturbed, tmp_path
):
    much = "stages.pretrain.max_bad_fraction=0.9"
    spoiled = command(carried_recipe, tmp_path / "two", 2, much, fault=unreadable_for({1}, {0, 1}))
    assert spoiled.codes == [0, 0], spoiled.said
    whole, _ = undisturbed
    assert spoiled.cuts == whole.cuts
    rows = (tmp_path / "two" / "stages" / "pretrain" / "bad_audio.jsonl").read_text().splitlines()
    assert [json.loads(row)["cut"] for row in rows] == [
        cut for pack in whole.cuts[STEP + 1][2:] for cut in pack
    ]
    alone = command(carried_recipe, tmp_path / "one", 1, much, fault=unreadable_for({0}, {2, 3}))
    assert spoiled.losses == {step: pytest.approx(loss, rel=1e-6) for step, loss in alone.losses.items()}
    assert spoiled.losses[STEP + 1] != pytest.approx(whole.losses[STEP + 1], rel=1e-6), "the control"
    assert [step for step in whole.losses if spoiled.losses[step] == whole.losses[step]] == [1, 2, 3]
