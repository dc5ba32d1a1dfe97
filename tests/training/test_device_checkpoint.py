"""A checkpoint that is written while a device trains: killed in the middle, the stage continues bit for bit."""

import multiprocessing
import os
import signal
from functools import partial
from pathlib import Path

import pytest
import torch
from lightning import Trainer

from audio_lm.checkpoints.config import CheckpointConfig
from audio_lm.checkpoints.discovery import newest_valid
from audio_lm.checkpoints.writer import CheckpointWriter
from audio_lm.training.callbacks.checkpoint import FOLDER, StageCheckpoint
from audio_lm.training.config import OptimizerConfig, PartConfig
from audio_lm.training.next_token import NextTokenModule
from audio_lm.training.param_groups import learning_rates
from audio_lm.training.schedules import rate_factor
from tests.devices import DEVICES
from tests.training.tiny import PACKS, tiny

PARTS = {name: PartConfig(lr=1e-3) for name in ("encoder", "projector", "new_tokens", "language_model")}
STEPS, EVERY, KILLED_SAVE = 5, 2, 4
TIMEOUT = 600  # seconds; only a bound on what hangs, as a busy machine is slow


class PacksFrom:
    """Packs of every step from one on."""

    def __init__(self, step):
        self.step = step

    def __iter__(self):
        for step in range(self.step, STEPS):
            yield PACKS[step % 2 :: 2]


def die_in_the_save_of(step):
    """Kill the process from the thread that saves, when all files of a checkpoint are written and it has no name yet."""
    rename = CheckpointWriter._rename

    def rename_or_die(self, partial_folder, final):
        if final.name.endswith(f"{step:08}"):
            os.kill(os.getpid(), signal.SIGKILL)
        rename(self, partial_folder, final)

    CheckpointWriter._rename = rename_or_die


def train(device, folder, killed_save=None):
    """Train from the newest checkpoint on, in a process of its own, and write the final state."""
    torch.set_num_threads(1)  # a fork has no threads of its parent, and its OpenMP would wait for them
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    torch.use_deterministic_algorithms(True, warn_only=True)
    if killed_save is not None:
        die_in_the_save_of(killed_save)
    resume_from = newest_valid(folder / FOLDER) if (folder / FOLDER).is_dir() else None
    start = resume_from.step if resume_from else 0
    model = tiny("all")
    module = NextTokenModule(
        model,
        rate_of=learning_rates([name for name, _ in model.named_parameters()], PARTS),
        factor=partial(rate_factor, kind="cosine", steps=STEPS, warmup_steps=2, floor=0.0),
        optimizer=OptimizerConfig(clip=1.0),
        log_every=3,
    )
    checkpoint = StageCheckpoint(
        folder,
        steps=STEPS,
        every=EVERY,
        cursor_behind={step: [step, 0, 0] for step in range(STEPS + 1)},
        config=CheckpointConfig(asynchronous=True),
        resume_from=resume_from,
    )
    trainer = Trainer(
        accelerator="gpu" if device == "cuda" else "cpu",
        devices=1,
        precision="bf16-mixed" if device == "cuda" else "32-true",
        max_steps=STEPS,
        max_epochs=-1,
        logger=False,
        callbacks=[checkpoint],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, PacksFrom(start))
    assert checkpoint.saver._stager.pin_memory == torch.cuda.is_available(), "staged in pinned memory"
    states = trainer.optimizers[0].state.values()
    torch.save(
        {
            "start": start,
            "weights": {name: value.cpu() for name, value in model.state_dict().items()},
            "moments": [state[key].cpu() for state in states for key in sorted(state)],
            "losses": module.train_loss.sums,
        },
        folder / "result.pt",
    )


def run(device, folder, killed_save=None):
    """Exit code of the process."""
    # A fork cannot use a GPU that its parent has used; without one it saves the imports.
    context = multiprocessing.get_context("spawn" if torch.cuda.is_available() else "fork")
    folder.mkdir(exist_ok=True)
    process = context.Process(target=train, args=(device, folder, killed_save))
    process.start()
    process.join(TIMEOUT)
    return process.exitcode


def result(folder: Path):
    return torch.load(folder / "result.pt", weights_only=True)


@pytest.mark.gpu_counterpart
@pytest.mark.parametrize("device", DEVICES)
def test_a_stage_killed_while_it_saves_continues_bit_for_bit(device, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run(device, whole) == 0
    assert run(device, killed, KILLED_SAVE) == -signal.SIGKILL
    assert not (killed / "result.pt").exists()
    assert newest_valid(killed / FOLDER).step == KILLED_SAVE - EVERY
    assert run(device, killed) == 0
    expected, resumed = result(whole), result(killed)
    assert (expected.pop("start"), resumed.pop("start")) == (0, KILLED_SAVE - EVERY)
    assert expected["losses"] == resumed["losses"]
    assert expected["weights"].keys() == resumed["weights"].keys()
    assert all(torch.equal(value, resumed["weights"][name]) for name, value in expected["weights"].items())
    assert all(torch.equal(a, b) for a, b in zip(expected["moments"], resumed["moments"], strict=True))
