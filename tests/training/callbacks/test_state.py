"""State of callbacks: saved and restored."""

import pytest
import torch
from lightning import Callback, LightningModule, Trainer

from audio_lm.common.errors import UserError
from audio_lm.training.callbacks.state import load_callback_states, save_callback_states


class Average(Callback):
    """Has a tensor and plain values as state, and adds a value to the checkpoint."""

    def __init__(self):
        self.weights, self.steps, self.extra = torch.zeros(2), [], None

    def state_dict(self):
        return {"weights": self.weights, "steps": self.steps}

    def load_state_dict(self, state):
        self.weights, self.steps = state["weights"], state["steps"]

    def on_save_checkpoint(self, trainer, module, checkpoint):
        checkpoint["average"] = {"extra": self.extra}

    def on_load_checkpoint(self, trainer, module, checkpoint):
        self.extra = checkpoint["average"]["extra"]


class Counting(LightningModule):
    num_loaded = 0

    def on_save_checkpoint(self, checkpoint):
        checkpoint["module"] = 7

    def on_load_checkpoint(self, checkpoint):
        self.num_loaded = checkpoint["module"]


def trainer_with(*callbacks):
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        callbacks=[*callbacks],
    )
    trainer.strategy._lightning_module = Counting()
    return trainer


def test_states_and_values_added_by_hooks_are_restored():
    average = Average()
    average.weights, average.steps, average.extra = torch.tensor([1.5, -2.0]), [3, "a"], {"b": None}
    text = save_callback_states(trainer_with(average))
    other = Average()
    trainer = trainer_with(other)
    assert load_callback_states(trainer, text) == []
    assert torch.equal(other.weights, average.weights)
    assert (other.steps, other.extra) == ([3, "a"], {"b": None})
    assert trainer.lightning_module.num_loaded == 7


def test_a_state_without_its_callback_is_named():
    class Removed(Callback):
        def state_dict(self):
            return {"a": 1}

    average = Average()
    text = save_callback_states(trainer_with(average, removed := Removed()))
    assert load_callback_states(trainer_with(Average()), text) == [removed.state_key]


def test_a_state_that_would_run_code_is_refused_with_the_name_of_its_callback():
    class WithModule(Callback):
        def state_dict(self):
            return {"a": pytest}

    class WithClass(Callback):
        def state_dict(self):
            return {"a": Counting}

    with pytest.raises((UserError, TypeError)):
        save_callback_states(trainer_with(WithModule()))
    with pytest.raises(UserError, match="WithClass"):
        save_callback_states(trainer_with(WithClass()))


@pytest.mark.parametrize("text", ["", "AAAA", "no base64 at all"])
def test_damaged_states_are_refused(text):
    with pytest.raises(UserError, match="state"):
        load_callback_states(trainer_with(Average()), text)
