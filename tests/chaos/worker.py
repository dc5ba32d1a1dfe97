"""The program of a rank in these tests: train.py, with a plan of what befalls it and a record of what it heard."""

import importlib.util
import json
import multiprocessing
import os
import re
import resource
import signal
import sys
import threading
import time
from functools import partial
from itertools import islice
from pathlib import Path

FOLDER = Path(os.environ["CHAOS_FOLDER"])
RANK = int(os.environ.get("RANK", "0"))
ROOT = Path(__file__).parents[2]


def main():
    if "CHAOS_CLOCK" in os.environ:
        setting_clocks(hours=len([*FOLDER.glob("befell-*")]))
    late = (one for one in plan() if one["moment"] == "start" and one.get("rank") == RANK)
    for event in islice(filter(is_due, late), 1):
        befall(event)
    spec = importlib.util.find_spec("audio_lm.cli.main")
    assert spec.origin.startswith(str(ROOT)), spec.origin
    from audio_lm.cli.main import main as command

    import_hook()
    command(["train", *sys.argv[1:]])


def setting_clocks(hours):
    """Every start is an hour before the one that it follows, on a machine of another name; so are its files."""
    import platform

    now, name = time.time, platform.node()
    time.time = lambda: now() - 3600 * hours
    platform.node = lambda: f"{name}-{hours}"
    if hours and RANK == 0:
        for path in sorted(Path(sys.argv[sys.argv.index("--out") + 1]).glob("stages/*/checkpoints/*")):
            step = int(re.search(r"\d+", path.name)[0])
            os.utime(path, (now() - step, now() - step))  # the newest looks oldest


def plan():
    path = FOLDER / "plan.json"
    return json.loads(path.read_text()) if path.is_file() else []


def is_due(event):
    """Whether it has not befallen yet; some come at every try, some only after another one."""
    if (after := event.get("after")) is not None and not (FOLDER / f"befell-{after}").exists():
        return False
    return event.get("always") or not (FOLDER / f"befell-{event['id']}").exists()


def import_hook():
    """Patch the trainer's builder when train.py's own late import has happened."""
    import audio_lm.fault_tolerance.restarts as attempts

    check = attempts.check_not_ended

    def check_and_patch(folder, launch):
        check(folder, launch)
        attempts.check_not_ended = check
        patch()

    attempts.check_not_ended = check_and_patch


def fate_of(stage):
    """A callback: what befalls this rank, and what it heard."""
    from lightning import Callback

    record = record_of("heard")
    pause = float(os.environ.get("CHAOS_PAUSE", "0"))

    meet = partial(meet_in, stage)

    class Fate(Callback):
        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            step = trainer.global_step
            clips = [cut_id for pack in batch for cut_id in pack.cut_ids]
            line = {"stage": stage, "step": step, "rank": RANK, "time": time.time(), "clips": clips}
            record(line)
            time.sleep(pause)
            meet("step", step)

        def on_validation_batch_start(self, trainer, *_, **__):
            meet("validation", trainer.global_step - 1)

        def on_train_end(self, trainer, module):
            if trainer.global_step == trainer.max_steps:
                meet("stage change", trainer.global_step - 1)

    return Fate()


def record_of(name):
    """Writes lines that a kill leaves whole."""
    file = (FOLDER / f"{name}-{RANK}.jsonl").open("ab", buffering=0)
    return lambda line: file.write(json.dumps(line).encode() + b"\n")


def meet_in(stage, moment, step):
    for event in plan():
        here = (event["moment"], event.get("rank"), event.get("stage"), event.get("step"))
        if here == (moment, RANK, stage, step) and is_due(event):
            befall(event)


def patch():
    from audio_lm.run import train as training

    build = training.build_trainer

    def build_with_fate(recipe, stage, folder, *, callbacks, **more):
        return build(recipe, stage, folder, callbacks=[*callbacks, fate_of(folder.name)], **more)

    training.build_trainer = build_with_fate
    building(training)
    judging(training)
    saving()
    leaving(training)
    learning()
    leaking()
    if fault := os.environ.get("CHAOS_FAULT"):
        going_on_wrongly(fault)


def saving():
    """Moments of a save: between a checkpoint's files and its manifest, before and behind its rename."""
    from audio_lm.checkpoints.writer import Store

    seals, moved = Store._own_seals, Store._moved

    def meet(self, moment, beside):
        meet_in(self.folder.parent.name, moment, int(re.search(r"\d+", beside.name)[0]) - 1)

    def seals_met(self, beside):
        meet(self, "save", beside)
        return seals(self, beside)

    def moved_met(self, beside, final):
        meet(self, "rename", beside)
        found = moved(self, beside, final)
        meet(self, "renamed", beside)
        return found

    Store._own_seals, Store._moved = seals_met, moved_met


def leaving(training):
    """Between the weights that a stage leaves and the word that it is finished."""
    save = training.save_model

    def meet(model, folder, **how):
        save(model, folder, **how)
        meet_in(folder.parent.name, "weights", "last")

    training.save_model = meet


def learning():
    """What every rank makes of every step is written down to the last bit."""
    from audio_lm.training.losses import TaskLoss
    from audio_lm.training.next_token import NextTokenModule

    step, update, record = NextTokenModule.training_step, TaskLoss.update, record_of("learnt")
    training = []  # the module whose step is being made

    def meet(self, packs, batch_idx):
        training[:] = [self]
        step(self, packs, batch_idx)

    def write_down(self, sums):
        update(self, sums)
        (module,) = training or [None]
        if module is not None and module.train_loss is self:
            losses = [
                {task: [total.hex(), count] for task, (total, count) in sorted(one.items())} for one in sums
            ]
            stage = Path(module.trainer.default_root_dir).name
            record({"stage": stage, "step": module.global_step, "rank": RANK, "losses": losses})

    NextTokenModule.training_step, TaskLoss.update = meet, write_down


def leaking():
    """A data worker that forgets to close what it opens, and may not open much."""
    from audio_lm.data.datamodule import PackDataset

    read, left_open = PackDataset.__getitem__, []

    def leak(self, packs):
        due = [one for one in plan() if (one["moment"], one["rank"]) == ("data", RANK) and is_due(one)]
        if due and multiprocessing.parent_process() is not None:
            strike(due[0])
            there = len(os.listdir("/proc/self/fd"))
            resource.setrlimit(resource.RLIMIT_NOFILE, (there + due[0]["more"],) * 2)
            left_open.append(os.dup(0))
        elif left_open:
            left_open.append(os.dup(0))
        return read(self, packs)

    PackDataset.__getitem__ = leak


def going_on_wrongly(fault):
    """A program with a fault that shows only where a stage goes on from a checkpoint."""
    from audio_lm.data.datamodule import PackSampler
    from audio_lm.training.next_token import NextTokenModule

    if fault == "position":
        build = PackSampler.__init__

        def build_one_further(self, plan, cursor, **how):
            build(self, plan, cursor._replace(place=cursor.place + bool(cursor.step)), **how)

        PackSampler.__init__ = build_one_further
        return
    start = NextTokenModule.on_train_start

    def start_wrongly(self):
        start(self)
        if self.global_step and fault == "optimizer":
            self.optimizers().optimizer.state.clear()
        elif self.global_step and fault == "dropout":
            self.seed += 1

    NextTokenModule.on_train_start = start_wrongly


def building(training):
    """The model is made."""
    build = training.build_audio_lm

    def meet(*args, **how):
        meet_in(None, "building", None)
        return build(*args, **how)

    training.build_audio_lm = meet


def judging(training):
    """The evaluation is a moment too."""
    until_stopped = training.Survival.until_stopped

    def meet(self, items, **how):
        for number, item in enumerate(until_stopped(self, items, **how)):
            if number == 0:
                for event in plan():
                    if event["moment"] == "evaluation" and is_due(event):
                        befall(event)
            yield item

    training.Survival.until_stopped = meet


def befall(event):
    """Have it happen, now or in some milliseconds."""
    if event.get("delay"):
        threading.Timer(event["delay"], lambda: strike(event)).start()
    else:
        strike(event)


def strike(event):
    kind, number = event["kind"], getattr(signal, event.get("signal", "SIGKILL"))
    pids = {
        "rank": lambda: [os.getpid()],
        "agent": lambda: [os.getppid()],
        "data worker": lambda: [worker.pid for worker in multiprocessing.active_children()],
    }.get(kind, list)()
    (FOLDER / f"befell-{event['id']}").touch()
    record_of("struck")(event | {"time": time.time(), "pids": pids})
    if kind == "raise":
        raise RuntimeError(f"chaos in a step, at {hex(id(event))}")
    if kind in ("hang", "sleep"):
        time.sleep(event.get("seconds", 3600))
    for pid in pids:
        os.kill(pid, number)


if __name__ == "__main__":
    main()
