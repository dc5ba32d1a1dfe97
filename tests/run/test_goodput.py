import json
import random

import pytest

from audio_lm.common.files import seal
from audio_lm.run.goodput import FILE, goodput_lines, goodput_of


def line(attempt, stage, at, time, *, is_first=False, **seconds):
    return {
        "attempt": attempt,
        "stage": stage,
        "step": at,
        "is_first": is_first,
        "time": time,
        "seconds": seconds,
    }


def write(folder, *lines):
    (folder / FILE).write_text("".join(json.dumps(seal(each)) + "\n" for each in lines))


FIRST = (
    line(1, None, None, 2, start=2.0),
    line(1, "a", 0, 5, is_first=True, start=5.0),
    line(1, "a", 10, 16, start=5.0, step=10.0, data=1.0),
    line(1, "a", 20, 28, start=5.0, step=20.0, data=2.0, save=1.0),
)


def test_every_second_of_a_run_has_a_cause(tmp_path):
    write(tmp_path, *FIRST, line(1, "a", 20, 40, start=5.0, step=20.0, data=2.0, save=3.0, evaluation=10.0))
    found = goodput_of(tmp_path)
    assert (found.wall, found.kept, found.share) == (40, 20, 0.5)
    assert found.lost == {"start": 5, "waiting for data": 2, "checkpoints": 3, "evaluation": 10}
    assert found.wall == pytest.approx(found.kept + sum(found.lost.values()))
    (text,) = goodput_lines(tmp_path)
    assert text == (
        "goodput 50.0 %: 20 s of 40 s in steps that count (1 start); the rest: evaluation 10 s, start 5 s, checkpoints 3 s, "
        "waiting for data 2 s"
    )


def test_steps_after_the_checkpoint_that_a_later_start_resumes_are_lost(tmp_path):
    second = (
        line(2, None, None, 131, start=1.0),
        line(2, "a", 10, 134, is_first=True, start=4.0),
        line(2, "a", 30, 154, start=4.0, step=20.0),
    )
    write(tmp_path, *FIRST, *second)
    found = goodput_of(tmp_path)
    assert found.kept == 10 + 20
    assert found.lost == {
        "start": 5, "restarts": 4, "lost steps": 10, "waiting for data": 2, "checkpoints": 1
    }  # fmt: skip
    assert (found.num_lost_steps, found.num_starts, found.between) == (10, 2, 130 - 28)
    assert "(2 starts, 10 steps were repeated; 1.7 min between them are not counted)" in next(found.lines())


def test_a_start_whose_stage_is_trained_anew_has_no_step_that_counts(tmp_path):
    again = (
        line(2, "a", 0, 50, is_first=True, start=1.0),
        line(2, "a", 20, 60, start=1.0, step=10.0),
        line(2, "b", 0, 61, is_first=True, start=1.0, step=10.0),
        line(2, "b", 5, 66, start=1.0, step=15.0),
    )
    write(tmp_path, *FIRST, *again)
    found = goodput_of(tmp_path)
    assert (found.kept, found.num_lost_steps) == (15, 20)


def test_a_start_that_ends_before_its_first_step_only_costs_time(tmp_path):
    write(tmp_path, line(1, None, None, 2, start=2.0), line(2, None, None, 9, start=3.0))
    found = goodput_of(tmp_path)
    assert (found.kept, found.share, found.lost) == (0, 0, {"start": 2, "restarts": 3})


def test_damaged_lines_are_skipped_and_a_run_without_a_record_has_no_goodput(tmp_path):
    assert goodput_of(tmp_path) is None
    assert list(goodput_lines(tmp_path)) == []
    write(tmp_path, *FIRST[:3], {"attempt": "x"})
    with (tmp_path / FILE).open("a") as file:
        file.write('{"torn')
    assert goodput_of(tmp_path).kept == 10


def test_names_of_metrics_are_those_of_no_score(tmp_path):
    write(tmp_path, *FIRST)
    metrics = goodput_of(tmp_path).as_metrics()
    assert metrics["goodput"] == pytest.approx(20 / 28)
    assert metrics["seconds_waiting_for_data"] == 2
    assert not any("/" in name for name in metrics)


@pytest.mark.parametrize("seed", range(12))
def test_kept_time_is_that_of_the_steps_that_no_later_start_repeats(tmp_path, seed):
    """Starts that are killed at random, and resume at a checkpoint: every step belongs to the last start that trained it."""
    rng = random.Random(seed)
    lines, now, wall, owner, trained = [], 0.0, 0.0, {}, 0
    for attempt in range(1, rng.randint(2, 5)):
        first = rng.choice([step for step in range(0, 31, 5) if step <= max(owner, default=0)])
        owner = {step: took for step, took in owner.items() if step <= first}
        now += rng.randint(1, 50)
        seconds = {"start": float(rng.randint(1, 5)), "step": 0.0, "data": 0.0}
        now += seconds["start"]
        lines.append(line(attempt, "a", first, now, is_first=True, **seconds))
        for step in range(first + 1, first + rng.randint(1, 12)):
            owner[step] = float(rng.randint(1, 9))
            trained += 1
            seconds["step"] += owner[step]
            seconds["data"] += 1.0
            now += owner[step] + 1.0
            lines.append(line(attempt, "a", step, now, **seconds))
        wall += sum(seconds.values())
    write(tmp_path, *lines)
    found = goodput_of(tmp_path)
    assert found.kept == pytest.approx(sum(owner.values()))
    assert found.wall == pytest.approx(wall) == pytest.approx(found.kept + sum(found.lost.values()))
    assert found.num_lost_steps == trained - len(owner)
