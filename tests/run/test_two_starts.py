"""Two starts of one run at once: the older one ends at its next heartbeat, and no value is written twice."""

import json
import threading
import time
from collections import Counter

import pytest
from lightning import Callback

from audio_lm.fault_tolerance.heartbeat import BEAT
from audio_lm.fault_tolerance.lease import Lease, generation_in
from tests.run.observed_run import run_command

pytestmark = pytest.mark.slow
NO_CHECKPOINT = "stages.pretrain.checkpoint_every=100"


class SlowSteps(Callback):
    """Waits after the second step until the newer start has the folder; later steps take longer than a heartbeat."""

    def __init__(self, out):
        self.out = out

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == 2:
            wait_until(lambda: generation_in(self.out) == 2)
        if trainer.global_step >= 2:
            time.sleep(1.5 * BEAT)


def wait_until(is_true):
    for _ in range(600):
        if is_true():
            return
        time.sleep(0.1)
    raise AssertionError("the condition is not true after a minute")


def values_of(out):
    lines = (out / "stages" / "pretrain" / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return Counter((name, row["step"]) for row in rows for name in row["values"] if name == "train_loss/all")


@pytest.mark.parametrize("is_control", [False, True])
def test_of_two_starts_at_once_the_older_ends_and_no_value_is_written_twice(
    observed_recipe, tmp_path, is_control
):
    out, older = tmp_path / "run", []

    def slow_down(number):
        if is_control:
            Lease.is_held = lambda self: True
        return [SlowSteps(out)]

    thread = threading.Thread(
        target=lambda: older.append(run_command(observed_recipe, out, 1, NO_CHECKPOINT, fault=slow_down))
    )
    thread.start()
    wait_until(lambda: generation_in(out) == 1)
    newer = run_command(observed_recipe, out, 1, "resume=auto", NO_CHECKPOINT)
    thread.join()
    (attempt,) = older
    assert newer.code == 0, newer.output
    assert attempt.code == 2, attempt.output
    assert "a newer start of this run writes here" in attempt.output
    assert "Traceback" not in attempt.output
    assert max(attempt.losses) <= 4, "at a heartbeat, not at the last step"
    counts = values_of(out)
    assert {step for _, step in counts} == {0, 1, 2, 3, 4, 5}
    assert (max(counts.values()) > 1) == is_control
    assert attempt.losses == {step: newer.losses[step] for step in attempt.losses}
