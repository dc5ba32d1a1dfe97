"""Runs of a small recipe on one rank or several: observed step by step, killed, with injected faults, and restarted."""

import contextlib
import io
import json
import logging
import os
import signal
import traceback
import uuid
from typing import Any, NamedTuple

import torch
from lightning import Callback
from rich.console import Console
from safetensors.torch import load_file

from audio_lm.config.load import load_recipe
from audio_lm.fault_tolerance.heartbeat import Heartbeat
from audio_lm.run import stage as training
from audio_lm.run.train import train
from audio_lm.tracking import run as tracking_run
from tests.forked import on_ranks
from tests.run.command import run

STEPS = 10
RECIPE = """
use: {{model: tiny, hardware: cpu}}
hardware: {{num_threads: 1}}
data_dir: {data}
tracking: {{uri: "sqlite:///{store}", num_listening_clips: 1}}
corpora: {corpora}
stages:
  pretrain:
    prompt: tags
    mixture:
      sources: {{sec: [synthetic/events-train], mna: [synthetic/notes-train]}}
      weights: {{sec: 1, mna: 1}}
    validation: {{sources: {{sec: [synthetic/events-validation]}}, weights: {{sec: 1}}}}
    validate_every: 4
    parts:
      encoder: {{lr: 1e-3, from_step: 2}}
      projector: {{lr: 1e-3}}
      new_tokens: {{lr: 1e-3}}
      language_model: {{lr: 1e-3}}
    optimizer: {{kind: muon}}
    steps: 10
    pack_tokens: 300
    packs_per_step: 4
    checkpoint_every: 1
    checkpoints: {{asynchronous: false}}
"""


class Observer(Callback):
    """Records the cuts and the loss of every step; kills the process before a step.

    Args:
        kill: step before which the process is killed.
    """

    def __init__(self, kill=None):
        self.kill, self.cuts, self.losses = kill, {}, {}

    def on_fit_start(self, trainer, module):
        module.log_every = 1

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == self.kill:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.cuts[trainer.global_step] = [pack.cut_ids for pack in batch]
        self.losses[trainer.global_step] = float(trainer.callback_metrics["train_loss/all"])
        if self.kill is not None:
            self.write(trainer)

    def write(self, trainer):
        """Append the step to a file, which outlives the process."""
        path = os.path.join(trainer.default_root_dir, f"observed-{os.environ.get('RANK', 0)}.jsonl")
        step = trainer.global_step
        with open(path, "a") as file:
            file.write(json.dumps([step, self.cuts[step], self.losses[step]]) + "\n")


def run_training(path, out, ranks, *overrides, kill=None):
    """Train on some ranks; returns the cuts of each step over all ranks, the losses, and the output. None if killed.

    Args:
        kill: step before which every rank is killed.
    """
    build = training.build_trainer

    def work(number):
        disable_watchdog()
        observer = Observer(kill)
        training.build_trainer = lambda *a, callbacks, **k: build(*a, callbacks=[observer, *callbacks], **k)
        console = Console(record=True, width=400, quiet=False, file=open(os.devnull, "w"))  # noqa: SIM115
        composed = load_recipe(path, [f"hardware.devices={ranks}", *overrides])
        train(composed, out=out, console=console)
        return observer.cuts, observer.losses, console.export_text()

    results = on_ranks(ranks, work, may_die=kill is not None)
    if kill is not None:
        assert results == [None] * ranks
        return None
    cuts = {step: [cut for rank_cuts, _, _ in results for cut in rank_cuts[step]] for step in results[0][0]}
    return cuts, results[0][1], results[0][2]


def read_observed(out, ranks):
    """Read the cuts and losses of the steps before a kill."""
    folder = out / "stages" / "pretrain"
    cuts, losses = {}, {}
    for number in range(ranks):
        path = folder / f"observed-{number}.jsonl"
        for line in path.read_text().splitlines():
            step, rank_cuts, loss = json.loads(line)
            cuts.setdefault(step, []).extend(map(tuple, rank_cuts))
            losses[step] = loss
        path.unlink()
    return cuts, losses


def weights(out):
    return {path.stem: load_file(path) for path in sorted((out / "stages/pretrain/model").iterdir())}


def assert_equal_weights(ours, theirs, *, rel=0.0):
    for part, values in ours.items():
        for name, value in values.items():
            torch.testing.assert_close(value, theirs[part][name], rtol=rel, atol=rel, msg=f"{part} {name}")


def write_recipe(path, small):
    """Write the recipe, with the corpora of the small recipe."""
    store = path.with_name("mlflow.db")
    path.write_text(RECIPE.format(data=small.data_dir, store=store, corpora=json.dumps(small.corpora)))
    return path


class Attempt(NamedTuple):
    """Result of one start of the command, on all ranks."""

    cuts: dict[int, Any]  # of every step, per pack
    losses: dict[int, float]
    code: int  # exit code of the first rank
    output: str  # of the first rank
    codes: list[int]  # exit codes of all ranks
    errors: list[str]  # error messages of all ranks


SHORT = ("stages.pretrain.steps=6", "stages.pretrain.schedule.warmup_steps=2")


def disable_watchdog(*, is_synced=False):
    """Start neither the watchdog nor, without ``is_synced``, the MLflow worker: each is a process that takes seconds."""
    Heartbeat.start = lambda self: None
    if not is_synced:
        tracking_run.SyncProcess = NoSync


class NoSync:
    """Fake MLflow worker; values stay in the journal."""

    def __init__(self, folder, uri):
        pass

    def finish(self, seconds):
        return True


def run_command(path, out, ranks, *overrides, fault=None, is_synced=False):
    """Run the train command on some ranks for six steps, without watchdogs.

    Args:
        fault: called on every rank with its number before training; returns further callbacks.
        is_synced: values are sent to the MLflow store.
    """
    launch = uuid.uuid4().hex

    def work(number):
        disable_watchdog(is_synced=is_synced)
        os.environ["TORCHELASTIC_RUN_ID"] = launch
        observer, build = Observer(), training.build_trainer
        more = (fault and fault(number)) or ()
        training.build_trainer = lambda *a, callbacks, **k: build(
            *a, callbacks=[observer, *callbacks, *more], **k
        )
        output = io.StringIO()
        logging.getLogger("audio_lm").addHandler(logging.StreamHandler(output))
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            try:
                code = run("train", path, f"--out={out}", f"hardware.devices={ranks}", *SHORT, *overrides)
            except Exception:  # as the interpreter would exit
                code = 1
                traceback.print_exc()
        return observer.cuts, observer.losses, code, output.getvalue()

    results = on_ranks(ranks, work)
    cuts = {
        step: [cut for rank_cuts, *_ in results for cut in rank_cuts.get(step, ())] for step in results[0][0]
    }
    codes = [result[2] for result in results]
    lines = [line for *_, output in results for line in output.splitlines()]
    errors = [line for line in lines if line.startswith("audio-lm: ")]
    return Attempt(cuts, results[0][1], results[0][2], results[0][3], codes, errors)


def checkpoints(out):
    """Checkpoint folder of the stage."""
    return out / "stages" / "pretrain" / "checkpoints"


def equal_weights(run, other):
    """True if two runs ended with the same weights, bit for bit."""
    ours, theirs = weights(run), weights(other)
    assert ours.keys() == theirs.keys()
    return all(
        torch.equal(value, theirs[part][name])
        for part, values in ours.items()
        for name, value in values.items()
    )
