import json
import logging
import math

import pytest

from audio_lm.common.files import read_lines
from audio_lm.training.callbacks import online_mixing
from audio_lm.training.callbacks.online_mixing import FILE, OnlineMixing


class Decided:
    """Decision after a step."""

    def __init__(self, step, losses):
        self.step, self.losses = step, dict(losses)

    def as_json(self):
        return {"step": self.step, "losses": self.losses}

    def metrics(self):
        return {"online_loss/" + task: loss for task, loss in self.losses.items()}


class EveryThird:
    """Path with a decision after every third step."""

    def __init__(self):
        self.next_step, self.decisions = 3, []

    def decide(self, losses):
        self.decisions.append(Decided(self.next_step, losses))
        self.next_step += 3
        return self.decisions[-1]

    def plan(self):
        return {"segments": len(self.decisions)}

    def state(self):
        return {"next_step": self.next_step}

    def load_state(self, state):
        self.next_step = state["next_step"]


class Steps:
    """Trainer, logger and module of a stage at a step."""

    def __init__(self, step=0):
        self.global_step, self.logged, self.step_sums = step, {}, ()
        self.loggers = [self]

    def log_metrics(self, metrics, step):
        self.logged[step] = metrics


def train(callback, steps, sums_of_step):
    for sums in sums_of_step:
        steps.global_step += 1
        steps.step_sums = sums
        callback.on_train_batch_end(steps, steps)


@pytest.fixture
def callback(tmp_path):
    return OnlineMixing(EveryThird(), tmp_path / "stage", progress={"plan": {}})


def test_losses_since_the_last_decision_are_rounded_logged_and_written(callback):
    steps = Steps()
    callback.on_train_start(steps, steps)
    train(callback, steps, [[{"asr": (6.0, 3.0), "mna": (0.5, 4.0)}, {"asr": (1.0001, 1.0)}]] * 3)
    train(callback, steps, [[{"asr": (9.0, 3.0)}]] * 3)
    losses = [decision.losses for decision in callback.path.decisions]
    assert losses == [{"asr": 1.75, "mna": 0.125}, {"asr": 3.0}]
    assert steps.logged == {
        3: {"online_loss/asr": 1.75, "online_loss/mna": 0.125},
        6: {"online_loss/asr": 3.0},
    }
    assert [line.record for line in read_lines(callback.file)] == [
        {"step": 3, "losses": losses[0]},
        {"step": 6, "losses": losses[1]},
    ]
    assert callback.text().count("\n") == 2
    assert callback.progress == {"plan": {"segments": 2}}


def test_the_order_of_packs_and_ranks_does_not_change_the_sum(tmp_path, monkeypatch):
    monkeypatch.setattr(online_mixing, "DIGITS", 17)
    values = [0.1, 0.2, 0.3, 0.7, 1e3, 0.9]
    assert sum(values) != sum(reversed(values))
    losses = []
    for order in (values, values[::-1]):
        callback, steps = OnlineMixing(EveryThird(), tmp_path, progress={}), Steps()
        train(callback, steps, [[{"asr": (value, 1.0)} for value in order[at : at + 2]] for at in (0, 2, 4)])
        losses.append(callback.path.decisions[0].losses)
    assert losses[0] == losses[1]
    assert losses[0]["asr"] == pytest.approx(sum(values) / 6)


def test_a_loss_that_is_not_finite_and_a_skipped_step_are_left_out(callback):
    train(callback, Steps(), [[{"asr": (math.nan, 3.0)}], [], [{"asr": (4.0, 2.0), "mna": (0.0, 0.0)}]])
    assert callback.path.decisions[0].losses == {"asr": 2.0}


def test_the_state_continues_between_two_decisions(callback, tmp_path):
    sums = [[{"asr": (step + 0.5, 2.0)}] for step in range(6)]
    train(callback, Steps(), sums)
    stopped = OnlineMixing(EveryThird(), tmp_path, progress={})
    train(stopped, Steps(), sums[:4])
    again = OnlineMixing(EveryThird(), tmp_path, progress={})
    again.load_state_dict(json.loads(json.dumps(stopped.state_dict())))
    train(again, Steps(4), sums[4:])
    assert again.path.decisions[0].losses == callback.path.decisions[1].losses


def test_decisions_after_the_checkpoint_of_a_resume_are_removed_from_the_file(callback):
    steps = Steps()
    callback.on_train_start(steps, steps)
    train(callback, steps, [[{"asr": (1.0, 1.0)}]] * 6)
    again = OnlineMixing(EveryThird(), callback.file.parent, progress={})
    again.on_train_start(Steps(5), None)
    assert [line.record["step"] for line in read_lines(again.file)] == [3]


def test_training_continues_where_the_file_cannot_be_written(callback, tmp_path, caplog):
    (tmp_path / "stage").mkdir()
    (tmp_path / "stage" / FILE).mkdir()
    steps = Steps()
    with caplog.at_level(logging.WARNING):
        callback.on_train_start(steps, steps)
    assert "decisions are only in the curves and in checkpoints" in caplog.text
    train(callback, steps, [[{"asr": (1.0, 1.0)}]] * 3)
    assert steps.logged
    assert callback.text() == ""
