"""Sweep of toy trials, and its workers as processes that can be killed."""

import multiprocessing
import os
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from audio_lm.sweep.config import MetricConfig
from audio_lm.sweep.facts import SweepFacts
from audio_lm.sweep.ledger import Ledger
from audio_lm.sweep.trial import Trial
from audio_lm.sweep.trial_run import ChildRun
from audio_lm.sweep.worker import Worker, WorkerSettings
from tests.sweep.toy_trial import METRIC

PATIENCE = 240  # seconds; only a bound on what hangs, as a busy machine is slow
TOY = Path(__file__).with_name("toy_trial.py")
ROOT = Path(__file__).parents[2]
FACTS = SweepFacts("toy-1a2b3c4d", "toy", "train", ("a", "b"), {METRIC: MetricConfig()}, steps=10)


def toy_trials(count):
    """Trials whose shares differ."""
    return [
        Trial(f"{number:03d}", "design", {"a": number / count, "b": 1 - number / count}, seed=number)
        for number in range(count)
    ]


def open_toy_sweep(folder, count=4):
    """Ledger of a new sweep."""
    ledger = Ledger(folder)
    ledger.open(FACTS, toy_trials(count))
    return ledger


@dataclass(frozen=True)
class ToyStarter:
    """Starts toy trials."""

    steps: int = 10

    def __call__(self, trial, folder):
        command = [sys.executable, "-S", str(TOY), str(folder), str(trial.seed), str(self.steps)]
        return ChildRun(command, folder, None, {**os.environ, "PYTHONPATH": str(ROOT)})


def toy_worker(ledger, steps=10, report=lambda line: None, **more):
    """Worker of a toy sweep that polls fast."""
    return Worker(ledger, ToyStarter(steps), report, settings=WorkerSettings(poll=0.02), **more)


class ToyWorker:
    """Worker in a process of its own, forked from this one, so that nothing is imported again."""

    def __init__(self, folder, steps=10):
        work = partial(_work, folder, steps)
        self.process = multiprocessing.get_context("fork").Process(target=work)
        self.process.start()

    def kill(self):
        self.process.kill()
        self.process.join()

    def stop(self):
        self.process.terminate()

    def end(self):
        """Wait for the end of its work; returns the exit code."""
        self.process.join(PATIENCE)
        return self.process.exitcode


def _work(folder, steps):
    os._exit(toy_worker(Ledger(folder), steps).work())


def results(ledger):
    """Name of every trial -> its status and values."""
    return {name: (one.status, dict(one.values)) for name, one in ledger.state().trials.items()}
