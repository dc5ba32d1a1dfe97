"""A run of two short stages with a cache of its own, killed in the second one, and started again in any state."""

import json
import os
import signal
from typing import NamedTuple

from lightning import Callback
from rich.console import Console

from audio_lm.common.errors import UserError
from audio_lm.config.load import load_recipe
from audio_lm.run import stage as training
from audio_lm.run.train import train
from tests.forked import on_ranks
from tests.run.carried import unwatched

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
    """What a start of the run came to."""

    cuts: dict  # (stage, step) -> of every pack
    losses: dict
    said: str
    refusal: str


class Watch(Callback):
    """Keeps what every step of every stage heard; kills the process before a step of the last one."""

    def __init__(self, stage, kill, seen):
        self.stage, self.kill, self.seen = stage, kill, seen

    def on_fit_start(self, trainer, module):
        module.log_every = 1

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == self.kill:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        loss = float(trainer.callback_metrics["train_loss/all"])
        self.seen[self.stage, trainer.global_step] = [pack.cut_ids for pack in batch], loss


def started(recipe, folder, *overrides, kill=None, change=lambda: None):
    """A start of the run in a process of its own; none where it was killed.

    Args:
        kill: before this step of the second stage.
        change: called in that process first.
    """

    def work(number):
        unwatched()
        change()
        build, seen = training.build_trainer, {}

        def watched(recipe, stage, place, *, callbacks, **how):
            watch = Watch(place.name, kill if place.name == "chat" else None, seen)
            return build(recipe, stage, place, callbacks=[watch, *callbacks], **how)

        training.build_trainer = watched
        console = Console(record=True, width=400, file=open(os.devnull, "w"))  # noqa: SIM115
        composed = load_recipe(recipe, [f"cache_dir={folder / 'cache'}", *overrides])
        refusal = ""
        try:
            train(composed, out=folder / "run", console=console)
        except UserError as error:
            refusal = str(error)
        cuts = {key: cuts for key, (cuts, _) in seen.items()}
        return Outcome(cuts, {key: loss for key, (_, loss) in seen.items()}, console.export_text(), refusal)

    return on_ranks(1, work, may_die=kill is not None)[0]


def write_recipe(path, small):
    """The recipe, on the corpora of the small one."""
    settings = {"data": small.data_dir, "store": path.with_name("mlflow.db"), "cache": path.with_name("none")}
    path.write_text(RECIPE.format(**settings, corpora=json.dumps(small.corpora)))
    return path
