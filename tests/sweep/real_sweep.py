"""Sweep of real runs of six steps, over the small recipe with one stage and its own cache, and its workers."""

import multiprocessing
import os
from functools import partial

from audio_lm.sweep.ledger import Ledger
from audio_lm.sweep.start import make_worker, open_sweep

SWEEP = """
recipe: {recipe}
overrides:
  - ~stages.chat
  - ~evaluation.benchmarks.dialogues
  - stages.pretrain.checkpoint_every=1
vary:
  shares: {{stage: pretrain, over: [sec, mna]}}
metrics:
  val_loss/sec: {{direction: min}}
  events/acc: {{direction: max, weight: 0}}
{design}
repeats: 1
"""


LIST = "design: {kind: list, points: [{sec: 1, mna: 3}]}"


def write_sweep(folder, small_recipe, design=LIST):
    """Write the sweep file."""
    path = folder / "real.yaml"
    path.write_text(SWEEP.format(recipe=small_recipe, design=design))
    return path


def open_real_sweep(folder, small_recipe, *overrides, design=LIST):
    """Ledger of the sweep in a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    path = write_sweep(folder, small_recipe, design)
    return open_sweep(str(path), overrides, out=folder / "sweep")


class RealWorker:
    """Worker in a process of its own, forked from this one."""

    def __init__(self, folder, **settings):
        work = partial(_work, folder, **settings)
        self.process = multiprocessing.get_context("fork").Process(target=work)
        self.process.start()

    def kill(self):
        self.process.kill()
        self.process.join()

    def end(self, seconds):
        """Wait for the end of its work; returns the exit code."""
        self.process.join(seconds)
        return self.process.exitcode


def _work(folder, **settings):
    os._exit(make_worker(Ledger(folder), lambda line: None, **settings).work())
