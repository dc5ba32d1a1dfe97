import json

import numpy as np
import pytest

from audio_lm.common.rng import random_for
from audio_lm.data.mixture.interleave import ProportionalInterleaver
from audio_lm.data.mixture.packing import PackingRules
from audio_lm.data.mixture.schedule import Cursor, PackSchedule, Segment
from audio_lm.data.mixture.segments import SegmentHistory, next_segment_start

WINDOW = 100
RULES = PackingRules(packs=2, max_tokens=400)
SIZE_OF = {"asr a": 70, "asr b": 40, "mna c": 90}


class Drawn:
    num_choices = 1

    def __init__(self, name):
        self.table = random_for("lengths", name).integers(20, 90, size=(SIZE_OF[name], 1))

    def of(self, rows, choices):
        return self.table[rows, choices]


def schedule_of(history):
    sizes = [SIZE_OF[name] for name in history.names]
    lengths = [Drawn(name) for name in history.names]
    return PackSchedule(history.names, sizes, lengths, history.segments, RULES, window=WINDOW, seed=0)


@pytest.fixture
def history():
    """Two sources with equal shares."""
    return SegmentHistory(WINDOW, ("asr a", "asr b"), ("1", "2"), (Segment(0, (1, 1), (0, 0)),), 1000)


@pytest.fixture
def longer(history):
    """From position 300 on without source b, and with c."""
    draws = history.draws_before(300)
    segment = Segment(300, (1, 3), (draws["asr a"], 0))
    return history.with_segments(["asr a", "mna c"], ["1", "3"], [segment], num_positions=2000)


def test_sources_keep_their_index_and_their_draws(history, longer):
    assert longer.names == ("asr a", "asr b", "mna c")
    assert longer.segments == (Segment(0, (1, 1, 0), (0, 0, 0)), Segment(300, (1, 0, 3), (150, 150, 0)))
    assert (longer.digests, longer.num_positions) == (("1", "2", "3"), 2000)


def test_earlier_windows_stay_and_epochs_continue(history, longer):
    before, after = schedule_of(history), schedule_of(longer)
    for window in range(3):
        assert after.steps_of(window) == before.steps_of(window)
    assert after.steps_of(3) != before.steps_of(3)
    sources, rows, _ = after.draws(0, 1500)
    assert (
        np.bincount(sources[300:], minlength=3) == ProportionalInterleaver((1, 0, 3)).draws_before(1200)
    ).all()
    for source, size in enumerate(SIZE_OF.values()):
        rows_of_source = rows[sources == source].tolist()
        for at in range(0, len(rows_of_source) - size + 1, size):
            assert sorted(rows_of_source[at : at + size]) == list(range(size)), (source, at)


def test_a_segment_starts_at_the_next_window(history):
    schedule, names = schedule_of(history), ["asr a", "mna c"]
    first = len(schedule.steps_of(0))
    assert next_segment_start(schedule, Cursor(0, 0, 0), names, history) == (0, 0, (0, 0))
    assert next_segment_start(schedule, Cursor(2, 0, 2), names, history) == (first, 100, (50, 0))
    assert next_segment_start(schedule, Cursor(first, 1, 0), names, history) == (first, 100, (50, 0))
    assert next_segment_start(schedule, Cursor(first + 1, 1, 1), names, history).position == 200


def test_a_segment_that_has_not_started_is_replaced(history, longer):
    again = longer.with_segments(["asr a"], ["1"], [Segment(300, (1,), (150,))], num_positions=1500)
    assert again.segments == (Segment(0, (1, 1, 0), (0, 0, 0)), Segment(300, (1, 0, 0), (150, 150, 0)))
    assert [segment.position for segment in again.segments] == [0, 300]


def test_a_history_survives_json(longer):
    assert SegmentHistory.from_json(json.loads(json.dumps(longer.as_json()))) == longer


def test_a_position_has_its_segment(longer):
    assert [longer.segment_at(position).position for position in (-1, 0, 299, 300, 9999)] == [
        0,
        0,
        0,
        300,
        300,
    ]
