"""Tiny model and training loop with a known state at each step, and helpers to save it."""

import torch
from torch import nn

from audio_lm.checkpoints import state
from audio_lm.checkpoints.process_group import Group
from audio_lm.checkpoints.writer import CheckpointWriter

LEARNING = ("encoder.0.weight", "encoder.0.bias", "encoder.2.weight", "encoder.2.bias")


class Tiny(nn.Module):
    """Model with a trained part, a frozen part and a buffer."""

    def __init__(self, width=8):
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.encoder = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.language_model = nn.Linear(width, width)
        self.register_buffer("seen", torch.zeros(1))
        for parameter in self.parameters():
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator))
        self.language_model.requires_grad_(False)

    def forward(self, x):
        self.seen += 1
        return self.language_model(self.encoder(x))


class Training:
    """Training loop; every step is a function of its number alone."""

    def __init__(self, model=None):
        self.model = model or Tiny()
        learning = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(learning, lr=1e-2)
        self.step = 0

    def walk(self, to):
        while self.step < to:
            self.step += 1
            x = torch.randn(4, 8, generator=torch.Generator().manual_seed(self.step))
            self.model(x).square().mean().backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
        return self

    @property
    def tensors(self):
        return state.weights(self.model, LEARNING) | state.optimizer_values(self.model, self.optimizer)

    @property
    def copied(self):
        return {name: value.clone() for name, value in self.tensors.items()}

    def load(self, checkpoint, group=None):
        state.load(checkpoint, self.model, LEARNING, self.optimizer, group)
        self.step = checkpoint.step
        return self


def write(folder, training, *, writer=None, **facts):
    """Write a checkpoint of a training."""
    writer = writer or CheckpointWriter(folder, Group())
    return writer.write(
        training.tensors, step=training.step, facts=facts, progress={"cursor": [training.step, 0, 0]}
    )


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name
