"""Every file of a run and of its cache, emptied, cut in half and with one bit flipped: bit-equal, or refused by name."""

import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from lightning import Callback
from rich.console import Console

from audio_lm.compose import load_recipe
from audio_lm.errors import UserError
from audio_lm.run import train as training
from audio_lm.run.train import train
from audio_lm.runtime import key_of
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
  untrained: true
  benchmarks:
    events: {{source: synthetic/events-test, task: sec, metrics: [acc], prompt: tags, stage: pretrain, max_new_tokens: 2}}
"""
KILLED_AT = 3  # of the second stage
DAMAGES = {
    "empty": lambda raw, path: b"",
    "half": lambda raw, path: raw[: len(raw) // 2],
    "bit": lambda raw, path: flipped(raw, key_of("bit", path) % (8 * len(raw))) if raw else b"",
}


def flipped(raw, number):
    """Bytes with one bit flipped."""
    place, bit = divmod(number, 8)
    return raw[:place] + bytes([raw[place] ^ (1 << bit)]) + raw[place + 1 :]


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


def started(recipe, folder, *overrides, kill=None):
    """A start of the run in a process of its own; none where it was killed."""

    def work(number):
        unwatched()
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


@pytest.fixture(scope="module")
def recipe(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("damage")
    path = folder / "damaged.yaml"
    settings = {"data": small.data_dir, "store": folder / "mlflow.db", "cache": folder / "none"}
    path.write_text(RECIPE.format(**settings, corpora=json.dumps(small.corpora)))
    return path


@pytest.fixture(scope="module")
def undisturbed(recipe, tmp_path_factory):
    """What the whole run hears and loses, and its folder."""
    folder = tmp_path_factory.mktemp("undisturbed")
    outcome = started(recipe, folder)
    assert not outcome.refusal
    assert len(outcome.losses) == 6
    return outcome, folder


@pytest.fixture(scope="module")
def killed(recipe, tmp_path_factory):
    """A folder with a run that was killed in its second stage, and its cache."""
    folder = tmp_path_factory.mktemp("killed")
    assert started(recipe, folder, kill=KILLED_AT) is None
    return folder


def files_of(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def weights(folder):
    return {path: (folder / path).read_bytes() for path in files_of(folder) if path.endswith(".safetensors")}


def rows(folder):
    """Every value of every curve, as often as it was written."""
    path = folder / "run" / "stages" / "chat" / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    return [(row["step"], name) for row in lines for name in row["values"] if name.startswith("train_loss")]


def assert_goes_on(recipe, folder, undisturbed, path, *overrides):
    """Go on in a folder in which something was damaged; what came of it."""
    outcome, whole = started(recipe, folder, "resume=auto", *overrides), undisturbed[0]
    if outcome.refusal:
        assert Path(path).name in outcome.refusal or str(Path(path).parent) in outcome.refusal, (
            outcome.refusal
        )
        assert len(outcome.refusal) < 1000
        assert "Traceback" not in outcome.refusal
        return "refused"
    for key, loss in outcome.losses.items():
        assert loss == whole.losses[key], key
        assert outcome.cuts[key] == whole.cuts[key], key
    assert weights(folder / "run" / "stages") == weights(undisturbed[1] / "run" / "stages")
    return "exact" if "exact" in outcome.said else "anew"


def damaged(killed, tmp_path, path, damage):
    """A copy of the killed run and its cache in which one file is damaged."""
    folder = tmp_path / "copy"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(killed, folder)
    raw = (folder / path).read_bytes()
    (folder / path).write_bytes(DAMAGES[damage](raw, path))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_every_file_can_be_damaged(recipe, killed, undisturbed, tmp_path, damage):
    for path in files_of(killed):
        began = time.monotonic()
        folder = damaged(killed, tmp_path, path, damage)
        came = assert_goes_on(recipe, folder, undisturbed, path)
        print(f"{time.monotonic() - began:.1f} s {came} {path}")
