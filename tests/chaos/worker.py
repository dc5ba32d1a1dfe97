"""Program of a rank in these tests: ``audio-lm train`` with injected faults and a record of clips and losses."""

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
        set_clocks_back(hours=len([*FOLDER.glob("done-*")]))
    at_start = (event for event in plan() if event["moment"] == "start" and event.get("rank") == RANK)
    for event in islice(filter(is_due, at_start), 1):
        inject(event)
    spec = importlib.util.find_spec("audio_lm.cli.main")
    assert spec.origin.startswith(str(ROOT)), spec.origin
    from audio_lm.cli.main import main as command

    patch_after_import()
    command(["train", *sys.argv[1:]])


def set_clocks_back(hours):
    """Move each start an hour before the previous one, on a host of another name, and reverse the file times."""
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
    """True if a fault is to be injected now: once, or at every attempt, or only after another fault."""
    if (after := event.get("after")) is not None and not (FOLDER / f"done-{after}").exists():
        return False
    return event.get("always") or not (FOLDER / f"done-{event['id']}").exists()


def patch_after_import():
    """Patch the modules of the run once the command has imported them."""
    import audio_lm.fault_tolerance.restarts as restarts

    check = restarts.check_not_ended

    def check_and_patch(folder, launch):
        check(folder, launch)
        restarts.check_not_ended = check
        patch()

    restarts.check_not_ended = check_and_patch


def fault_injector(stage):
    """Callback that injects faults into this rank and records its clips."""
    from lightning import Callback

    record = record_of("clips")
    pause = float(os.environ.get("CHAOS_PAUSE", "0"))

    inject_here = partial(inject_at, stage)

    class FaultInjector(Callback):
        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            step = trainer.global_step
            clips = [cut_id for pack in batch for cut_id in pack.cut_ids]
            line = {"stage": stage, "step": step, "rank": RANK, "time": time.time(), "clips": clips}
            record(line)
            time.sleep(pause)
            inject_here("step", step)

        def on_validation_batch_start(self, trainer, *_, **__):
            inject_here("validation", trainer.global_step - 1)

        def on_train_end(self, trainer, module):
            if trainer.global_step == trainer.max_steps:
                inject_here("stage change", trainer.global_step - 1)

    return FaultInjector()


def record_of(name):
    """Function that writes a record as one unbuffered line, which a kill does not split."""
    file = (FOLDER / f"{name}-{RANK}.jsonl").open("ab", buffering=0)
    return lambda line: file.write(json.dumps(line).encode() + b"\n")


def inject_at(stage, moment, step):
    for event in plan():
        place = (event["moment"], event.get("rank"), event.get("stage"), event.get("step"))
        if place == (moment, RANK, stage, step) and is_due(event):
            inject(event)


def patch():
    from audio_lm.run import prepare, session
    from audio_lm.run import stage as stage_runner

    build = stage_runner.build_trainer

    def build_with_faults(recipe, stage, folder, *, callbacks, **more):
        return build(recipe, stage, folder, callbacks=[*callbacks, fault_injector(folder.name)], **more)

    stage_runner.build_trainer = build_with_faults
    patch_building(prepare)
    patch_evaluation(session.RunSession)
    patch_saving()
    patch_stage_end(stage_runner)
    record_losses()
    patch_data_worker()
    if bug := os.environ.get("CHAOS_BUG"):
        patch_resume_bug(bug)


def patch_saving():
    """Faults in a save: before the manifest, before the rename and after it."""
    from audio_lm.checkpoints.writer import CheckpointWriter

    seal_shards, rename = CheckpointWriter._seal_shards, CheckpointWriter._rename

    def inject_here(writer, moment, partial):
        inject_at(writer.folder.parent.name, moment, int(re.search(r"\d+", partial.name)[0]) - 1)

    def seal_with_faults(self, partial):
        inject_here(self, "save", partial)
        return seal_shards(self, partial)

    def rename_with_faults(self, partial, final):
        inject_here(self, "rename", partial)
        result = rename(self, partial, final)
        inject_here(self, "renamed", partial)
        return result

    CheckpointWriter._seal_shards, CheckpointWriter._rename = seal_with_faults, rename_with_faults


def patch_stage_end(module):
    """Faults between the final weights of a stage and its status."""
    save = module.save_model

    def save_with_faults(model, folder, **options):
        save(model, folder, **options)
        inject_at(folder.parent.name, "weights", "last")

    module.save_model = save_with_faults


def record_losses():
    """Record the losses of every step on every rank to the last bit."""
    from audio_lm.training.losses import TaskLoss
    from audio_lm.training.next_token import NextTokenModule

    step, update, record = NextTokenModule.training_step, TaskLoss.update, record_of("losses")
    training = []  # the module of the current step

    def step_and_remember(self, packs, batch_idx):
        training[:] = [self]
        step(self, packs, batch_idx)

    def update_and_record(self, sums):
        update(self, sums)
        (module,) = training or [None]
        if module is not None and module.train_loss is self:
            losses = [
                {task: [total.hex(), count] for task, (total, count) in sorted(by_task.items())}
                for by_task in sums
            ]
            stage = Path(module.trainer.default_root_dir).name
            record({"stage": stage, "step": module.global_step, "rank": RANK, "losses": losses})

    NextTokenModule.training_step, TaskLoss.update = step_and_remember, update_and_record


def patch_data_worker():
    """A data worker that leaks file descriptors, with a low limit of open files."""
    from audio_lm.data.datamodule import PackDataset

    read, left_open = PackDataset.__getitem__, []

    def leak(self, packs):
        events = [event for event in plan() if (event["moment"], event["rank"]) == ("data", RANK)]
        due = [*filter(is_due, events)]
        if due and multiprocessing.parent_process() is not None:
            inject_now(due[0])
            num_open = len(os.listdir("/proc/self/fd"))
            resource.setrlimit(resource.RLIMIT_NOFILE, (num_open + due[0]["more"],) * 2)
            left_open.append(os.dup(0))
        elif left_open:
            left_open.append(os.dup(0))
        return read(self, packs)

    PackDataset.__getitem__ = leak


def patch_resume_bug(bug):
    """Add a bug that shows only in a stage that resumes from a checkpoint."""
    from audio_lm.data.datamodule import PackSampler
    from audio_lm.training.next_token import NextTokenModule

    if bug == "position":
        build = PackSampler.__init__

        def build_one_further(self, plan, cursor, **options):
            build(self, plan, cursor._replace(place=cursor.place + bool(cursor.step)), **options)

        PackSampler.__init__ = build_one_further
        return
    start = NextTokenModule.on_train_start

    def start_with_bug(self):
        start(self)
        if self.global_step and bug == "optimizer":
            self.optimizers().optimizer.state.clear()
        elif self.global_step and bug == "dropout":
            self.seed += 1

    NextTokenModule.on_train_start = start_with_bug


def patch_building(module):
    """Faults before the model is built."""
    build = module.build_audio_lm

    def build_with_faults(*args, **options):
        inject_at(None, "building", None)
        return build(*args, **options)

    module.build_audio_lm = build_with_faults


def patch_evaluation(run_session):
    """Faults after the first item of an evaluation."""
    until_stopped = run_session.until_stopped

    def until_stopped_with_faults(self, items, **options):
        for number, item in enumerate(until_stopped(self, items, **options)):
            if number == 0:
                for event in plan():
                    if event["moment"] == "evaluation" and is_due(event):
                        inject(event)
            yield item

    run_session.until_stopped = until_stopped_with_faults


def inject(event):
    """Inject a fault, now or after its delay."""
    if event.get("delay"):
        threading.Timer(event["delay"], lambda: inject_now(event)).start()
    else:
        inject_now(event)


def inject_now(event):
    kind, number = event["kind"], getattr(signal, event.get("signal", "SIGKILL"))
    pids = {
        "rank": lambda: [os.getpid()],
        "agent": lambda: [os.getppid()],
        "data worker": lambda: [worker.pid for worker in multiprocessing.active_children()],
    }.get(kind, list)()
    (FOLDER / f"done-{event['id']}").touch()
    record_of("faults")(event | {"time": time.time(), "pids": pids})
    if kind == "raise":
        raise RuntimeError(f"chaos in a step, at {hex(id(event))}")
    if kind in ("hang", "sleep"):
        time.sleep(event.get("seconds", 3600))
    for pid in pids:
        os.kill(pid, number)


if __name__ == "__main__":
    main()
