from dataclasses import replace

import pytest

from audio_lm.config.load import load_recipe
from audio_lm.data.mixture.schedule import Cursor, Segment
from audio_lm.data.mixture.segments import SegmentHistory
from audio_lm.run.extendable import extends_another_run, is_continued, may_be_extended

SEGMENTS = (Segment(0, (1, 1), (0, 0)), Segment(20, (1, 0), (10, 10)), Segment(40, (0, 1), (30, 10)))
HISTORY = SegmentHistory(10, ("a", "b"), ("1", "2"), SEGMENTS, 60)


@pytest.mark.parametrize(
    "key",
    [
        "steps",
        "schedule.kind",
        "schedule.min_lr",
        "parts.encoder.lr",
        "parts.encoder.from_step",
        "optimizer.clip",
    ],
)
def test_what_acts_on_the_steps_to_come_may_differ(key):
    assert may_be_extended(f"stages.chat.{key}", "chat")


@pytest.mark.parametrize(
    "key", ["prompt", "pack_tokens", "optimizer.kind", "mixture.weights.asr", "start_from"]
)
def test_the_order_of_examples_and_the_kind_of_optimizer_may_not(key):
    assert not may_be_extended(f"stages.chat.{key}", "chat")
    assert may_be_extended(f"stages.other.{key}", "chat"), "another stage is compared, or trained anew"
    assert not may_be_extended("seed", "chat")


def test_a_checkpoint_is_of_the_extended_run_unless_it_extends_the_same(small_recipe):
    extending = load_recipe(small_recipe, ["extends=runs/a"])
    assert extends_another_run(extending, {"settings": {}})
    assert extends_another_run(extending, {"settings": {"extends": "runs/b"}})
    assert not extends_another_run(extending, {"settings": {"extends": "runs/a"}})
    assert not extends_another_run(load_recipe(small_recipe), {"settings": {"extends": "runs/a"}})


def test_a_plan_is_continued_if_it_is_equal_up_to_the_window_of_the_cursor():
    longer = replace(HISTORY, segments=SEGMENTS[:2], num_positions=200)
    assert is_continued(HISTORY, longer, Cursor(9, 4, 0)), "the segment from position 40 on is not reached"
    assert not is_continued(HISTORY, longer, Cursor(9, 4, 1)), "the window from 40 to 50 is"
    assert not is_continued(HISTORY, replace(HISTORY, window=12), Cursor(1, 0, 0))
    assert not is_continued(HISTORY, replace(HISTORY, digests=("1", "3")), Cursor(1, 0, 0))
