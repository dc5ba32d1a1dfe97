"""The program of a rank in these tests: train.py, with a plan of what befalls it and a record of what it heard."""

import importlib.util
import json
import multiprocessing
import os
import re
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path

FOLDER = Path(os.environ["CHAOS_FOLDER"])
RANK = int(os.environ.get("RANK", "0"))
ROOT = Path(__file__).parents[2]


def main():
    late = [one for one in plan() if one["moment"] == "start" and one.get("rank") == RANK]
    for event in late:
        if is_ours(event):
            time.sleep(event["seconds"])
    spec = importlib.util.find_spec("audio_lm.cli")
    assert spec.origin.startswith(str(ROOT)), spec.origin
    from audio_lm.cli import main as command

    import_hook()
    command(["train", *sys.argv[1:]])


def plan():
    path = FOLDER / "plan.json"
    return json.loads(path.read_text()) if path.is_file() else []


def is_ours(event):
    """Once, whichever process comes first; some come at every try, some only after another one."""
    if (after := event.get("after")) is not None and not (FOLDER / f"befell-{after}").exists():
        return False
    if event.get("always"):
        return True
    try:
        (FOLDER / f"befell-{event['id']}").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def import_hook():
    """Patch the trainer's builder when train.py's own late import has happened."""
    import audio_lm.survival.attempts as attempts

    check = attempts.check_not_ended

    def check_and_patch(folder, launch):
        check(folder, launch)
        attempts.check_not_ended = check
        patch()

    attempts.check_not_ended = check_and_patch


def fate_of(stage):
    """A callback: what befalls this rank, and what it heard."""
    from lightning import Callback

    record = (FOLDER / f"heard-{RANK}.jsonl").open("a")
    pause = float(os.environ.get("CHAOS_PAUSE", "0"))

    meet = partial(meet_in, stage)

    class Fate(Callback):
        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            step = trainer.global_step
            clips = [cut_id for pack in batch for cut_id in pack.cut_ids]
            line = {"stage": stage, "step": step, "rank": RANK, "time": time.time(), "clips": clips}
            record.write(json.dumps(line) + "\n")
            record.flush()
            time.sleep(pause)
            meet("step", step)

        def on_validation_batch_start(self, trainer, *_, **__):
            meet("validation", trainer.global_step - 1)

        def on_train_end(self, trainer, module):
            if trainer.global_step == trainer.max_steps:
                meet("stage change", trainer.global_step - 1)

    return Fate()


def meet_in(stage, moment, step):
    for event in plan():
        here = (event["moment"], event.get("rank"), event.get("stage"), event.get("step"))
        if here == (moment, RANK, stage, step) and is_ours(event):
            befall(event)


def patch():
    from audio_lm.run import train as training

    build = training.build_trainer

    def build_with_fate(recipe, stage, folder, *, callbacks, **more):
        return build(recipe, stage, folder, callbacks=[*callbacks, fate_of(folder.name)], **more)

    training.build_trainer = build_with_fate
    judging(training)
    saving()


def saving():
    """So is what lies between a checkpoint's files and its manifest."""
    from audio_lm.checkpoints.writing import Store

    seals = Store._own_seals

    def meet(self, beside):
        meet_in(self.folder.parent.name, "save", int(re.search(r"\d+", beside.name)[0]) - 1)
        return seals(self, beside)

    Store._own_seals = meet


def judging(training):
    """The evaluation is a moment too."""
    until_told = training.Survival.until_told

    def meet(self, items, **how):
        for number, item in enumerate(until_told(self, items, **how)):
            if number == 0:
                for event in plan():
                    if event["moment"] == "evaluation" and is_ours(event):
                        befall(event)
            yield item

    training.Survival.until_told = meet


def befall(event):
    """Have it happen, now or in some milliseconds."""
    if event.get("delay"):
        threading.Timer(event["delay"], lambda: strike(event)).start()
    else:
        strike(event)


def strike(event):
    kind, number = event["kind"], getattr(signal, event.get("signal", "SIGKILL"))
    with (FOLDER / "struck.jsonl").open("a") as file:
        file.write(json.dumps(event | {"time": time.time()}) + "\n")
    if kind == "raise":
        raise RuntimeError(f"chaos in a step, at {hex(id(event))}")
    if kind == "hang":
        time.sleep(3600)
    if kind == "rank":
        os.kill(os.getpid(), number)
    elif kind == "agent":
        os.kill(os.getppid(), number)
    elif kind == "data worker":
        for worker in multiprocessing.active_children():
            os.kill(worker.pid, number)


if __name__ == "__main__":
    main()
