"""A run of two short stages with its own cache, killed in the second stage and restarted in any state."""

import functools
import json
import os
import signal
from pathlib import Path
from typing import NamedTuple

from lightning import Callback
from rich.console import Console

from audio_lm.common.errors import UserError
from audio_lm.config.load import load_recipe
from audio_lm.run import stage as training
from audio_lm.run.train import train
from audio_lm.tracking.event_log import record
from audio_lm.tracking.event_log.provenance import provenance
from tests.forked import on_ranks
from tests.run.observed_run import disable_watchdog

RECIPE = """
use: {{model: tiny, hardware: cpu}}
hardware: {{num_threads: 1}}
data_dir: {data}
cache_dir: {cache}
tracking: {{uri: "sqlite:///{store}", num_listening_clips: 0}}
corpora: {corpora}
stages:
  pretrain:
    prompt: tags
    mixture: {{sources: {{sec: [synthetic/events-train]}}, weights: {{sec: 1}}}}
    parts:
      encoder: {{lr: null}}
      projector: {{lr: 1e-3}}
      new_tokens: {{lr: 1e-3}}
      language_model: {{lr: null}}
    steps: 2
    pack_tokens: 300
    checkpoint_every: 1
    checkpoints: {{asynchronous: false}}
  chat:
    prompt: chatml
    mixture: {{sources: {{chat: [synthetic/dialogues-train]}}, weights: {{chat: 1}}}}
    parts:
      encoder: {{lr: null}}
      projector: {{lr: 1e-3}}
      new_tokens: {{lr: 1e-3}}
      language_model: {{lr: null}}
    steps: 4
    pack_tokens: 300
    checkpoint_every: 1
    checkpoints: {{asynchronous: false}}
evaluation:
  baselines: [untrained]
  benchmarks:
    events: {{source: synthetic/events-test, task: sec, metrics: [acc], prompt: tags, stage: pretrain, max_new_tokens: 2}}
"""
KILLED_AT = 3  # of the second stage


class Outcome(NamedTuple):
    """Result of one start of the run."""

    cuts: dict  # (stage, step) -> cuts of every pack
    losses: dict  # (stage, step) -> loss
    output: str
    refusal: str  # message of the error; empty if it trained


class Observer(Callback):
    """Records the cuts and the loss of every step of a stage; kills the process before a step."""

    def __init__(self, stage, kill, observed):
        self.stage, self.kill, self.observed = stage, kill, observed

    def on_fit_start(self, trainer, module):
        module.log_every = 1

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == self.kill:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        loss = float(trainer.callback_metrics["train_loss/all"])
        self.observed[self.stage, trainer.global_step] = [pack.cut_ids for pack in batch], loss


def start_run(recipe, folder, *overrides, kill=None, change=lambda: None):
    """Start the run in a process of its own; returns None if it was killed.

    Args:
        kill: step of the second stage before which the process is killed.
        change: called in that process first.
    """

    composed = _load(recipe, f"cache_dir={folder / 'cache'}", *overrides)

    def work(number):
        disable_watchdog()
        record.figure_png = lambda figure: b"a picture, which takes a tenth of the time of a resume"
        change()
        build, observed = training.build_trainer, {}

        def build_observed(recipe, stage, folder, *, callbacks, **settings):
            observer = Observer(folder.name, kill if folder.name == "chat" else None, observed)
            return build(recipe, stage, folder, callbacks=[observer, *callbacks], **settings)

        training.build_trainer = build_observed
        console = Console(record=True, width=400, file=open(os.devnull, "w"))  # noqa: SIM115
        refusal = ""
        try:
            train(composed, out=folder / "run", console=console)
        except UserError as error:
            refusal = str(error)
        cuts = {key: cuts for key, (cuts, _) in observed.items()}
        return Outcome(
            cuts, {key: loss for key, (_, loss) in observed.items()}, console.export_text(), refusal
        )

    _read_versions()
    return on_ranks(1, work, may_die=kill is not None)[0]


@functools.cache
def _load(recipe, *overrides):
    """Load the recipe here, once for all starts in a folder: a fifth of the time of a resume."""
    return load_recipe(recipe, overrides)


@functools.cache
def _read_versions():
    """Read the versions of all packages here, so that no fork has to do so: a quarter of the time of a resume."""
    provenance(Path("/"))


def write_recipe(path, small):
    """Write the recipe, with the corpora of the small recipe."""
    settings = {"data": small.data_dir, "store": path.with_name("mlflow.db"), "cache": path.with_name("none")}
    path.write_text(RECIPE.format(**settings, corpora=json.dumps(small.corpora)))
    return path
