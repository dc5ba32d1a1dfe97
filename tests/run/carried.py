"""Runs of a small recipe by one process or several, watched step by step, killed, faulted and begun again."""

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


class Watch(Callback):
    """Keeps what every step heard and how large its loss was; kills the process before a step."""

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
            self.journal(trainer)

    def journal(self, trainer):
        """Survives the kill."""
        path = os.path.join(trainer.default_root_dir, f"watch-{os.environ.get('RANK', 0)}.jsonl")
        step = trainer.global_step
        with open(path, "a") as file:
            file.write(json.dumps([step, self.cuts[step], self.losses[step]]) + "\n")


def carry_out(path, out, ranks, *overrides, kill=None, may_die=None):
    """What each step heard on all ranks, its losses, what was said and the weights at the end."""
    build = training.build_trainer

    def work(number):
        unwatched()
        watch = Watch(kill)
        training.build_trainer = lambda *a, callbacks, **k: build(*a, callbacks=[watch, *callbacks], **k)
        console = Console(record=True, width=400, quiet=False, file=open(os.devnull, "w"))  # noqa: SIM115
        composed = load_recipe(path, [f"hardware.devices={ranks}", *overrides])
        train(composed, out=out, console=console)
        return watch.cuts, watch.losses, console.export_text()

    answers = on_ranks(ranks, work, may_die=kill is not None)
    if kill is not None:
        assert answers == [None] * ranks
        return None
    cuts = {step: [cut for of_rank, _, _ in answers for cut in of_rank[step]] for step in answers[0][0]}
    return cuts, answers[0][1], answers[0][2]


def journalled(out, ranks):
    """What a killed attempt had heard, and its losses."""
    folder = out / "stages" / "pretrain"
    cuts, losses = {}, {}
    for number in range(ranks):
        path = folder / f"watch-{number}.jsonl"
        for line in path.read_text().splitlines():
            step, of_rank, loss = json.loads(line)
            cuts.setdefault(step, []).extend(map(tuple, of_rank))
            losses[step] = loss
        path.unlink()
    return cuts, losses


def weights(out):
    return {path.stem: load_file(path) for path in sorted((out / "stages/pretrain/model").iterdir())}


def assert_equal_weights(one, other, *, rel=0.0):
    for part, values in one.items():
        for name, value in values.items():
            torch.testing.assert_close(value, other[part][name], rtol=rel, atol=rel, msg=f"{part} {name}")


def write_recipe(path, small):
    """The recipe, on the corpora of the small one."""
    store = path.with_name("mlflow.db")
    path.write_text(RECIPE.format(data=small.data_dir, store=store, corpora=json.dumps(small.corpora)))
    return path


class Attempt(NamedTuple):
    """What one start of the command came to, on all ranks."""

    cuts: dict[int, Any]  # of every step, pack by pack
    losses: dict[int, float]
    code: int  # of its exit, of the first rank
    said: str  # by the first rank
    codes: list[int]
    mistakes: list[str]  # sentences by any rank


SHORT = ("stages.pretrain.steps=6", "stages.pretrain.schedule.warmup_steps=2")


def unwatched(*, is_sent=False):
    """Without a watchdog and without who sends values: processes that cost seconds each."""
    Heartbeat.start = lambda self: None
    if not is_sent:
        tracking_run.SendingProcess = Unsent


class Unsent:
    """Values stay in the journal: a process that sends them costs seconds."""

    def __init__(self, folder, uri):
        pass

    def finish(self, seconds):
        return True


def command(path, out, ranks, *overrides, fault=None, is_sent=False):
    """The command on some ranks for six steps, without watchdogs and without a store.

    Args:
        fault: called by every rank with its number before it begins; gives callbacks.
        is_sent: whether values are sent to the store all the same.
    """

    launch = uuid.uuid4().hex

    def work(number):
        unwatched(is_sent=is_sent)
        os.environ["TORCHELASTIC_RUN_ID"] = launch
        watch, build = Watch(), training.build_trainer
        others = (fault and fault(number)) or ()
        training.build_trainer = lambda *a, callbacks, **k: build(
            *a, callbacks=[watch, *callbacks, *others], **k
        )
        said = io.StringIO()
        logging.getLogger("audio_lm").addHandler(logging.StreamHandler(said))
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            try:
                code = run("train", path, f"--out={out}", f"hardware.devices={ranks}", *SHORT, *overrides)
            except Exception:  # as the interpreter leaves
                code = 1
                traceback.print_exc()
        return watch.cuts, watch.losses, code, said.getvalue()

    answers = on_ranks(ranks, work)
    cuts = {step: [cut for of_rank, *_ in answers for cut in of_rank.get(step, ())] for step in answers[0][0]}
    codes = [answer[2] for answer in answers]
    lines = [line for *_, said in answers for line in said.splitlines()]
    mistakes = [line for line in lines if line.startswith("audio-lm: ")]
    return Attempt(cuts, answers[0][1], answers[0][2], answers[0][3], codes, mistakes)


def checkpoints(out):
    """Of the stage."""
    return out / "stages" / "pretrain" / "checkpoints"


def equal_weights(one, other):
    """Whether two runs have ended with the same weights, bit for bit."""
    ours, theirs = weights(one), weights(other)
    assert ours.keys() == theirs.keys()
    return all(
        torch.equal(value, theirs[part][name])
        for part, values in ours.items()
        for name, value in values.items()
    )
