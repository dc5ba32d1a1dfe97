import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyannote.core import Annotation, Segment, Timeline
from pyannote.metrics import diarization
from rapidfuzz.distance import Levenshtein
from sklearn.metrics import f1_score

from audio_lm.common.word_timestamps import Unit
from audio_lm.metrics.intervals import (
    AverageShift,
    DiarizationErrorRate,
    EventF1,
    MatchedFraction,
    SegmentF1,
    equal_units,
    parse_events,
    parse_turns,
)

REFERENCE = "<|0.00|><|sil|><|0.50|>she<|0.70|>sells<|1.00|>"


def score(metric, answer, reference):
    return float(metric()([answer], [reference], ["en"]))


def test_shifts_are_summed_over_both_ends_and_averaged_over_units():
    # "sil" ends 10 ms late, "she" starts 10 ms and ends 30 ms late, "sells" starts 30 ms late: 80 ms over 3 units.
    assert score(AverageShift, "<|0.00|><|sil|><|0.51|>she<|0.73|>sells<|1.00|>", REFERENCE) == pytest.approx(
        80 / 3
    )
    assert score(MatchedFraction, "<|0.00|><|sil|><|0.51|>she<|0.73|>sells<|1.00|>", REFERENCE) == 1.0


def test_only_equal_units_are_compared():
    assert score(AverageShift, "<|0.00|><|sil|><|0.50|>sea<|0.90|>sells<|1.00|>", REFERENCE) == pytest.approx(
        200 / 2
    )


def test_the_shift_is_infinite_if_nothing_matches():
    assert math.isinf(score(AverageShift, "no stamps at all", REFERENCE))
    assert score(MatchedFraction, "", REFERENCE) == 0.0


def test_plain_text_times_are_compared_too():
    reference = "0.50-0.70 she, 0.70-1.00 sells"
    assert score(AverageShift, "0.51-0.73 she, 0.73-1.00 sells", reference) == pytest.approx(
        (10 + 30 + 30) / 2
    )
    assert score(MatchedFraction, "0.51-0.73 she", reference) == 0.5


@given(st.lists(st.sampled_from("abc"), max_size=6), st.lists(st.sampled_from("abc"), max_size=6))
def test_pairs_are_equal_and_in_order(one, other):
    ours, theirs = ([Unit(symbol, 0.0, 0.0) for symbol in row] for row in (one, other))
    pairs = equal_units(ours, theirs)
    assert all(one[i] == other[j] for i, j in pairs)
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in itertools.pairwise(pairs))


EVENTS = (
    "<|startofword|>beep<|endofword|><|0.50|><|1.00|><|delim|><|2.00|><|2.50|>"
    "<|startofword|>hum<|endofword|><|0.00|><|3.00|>"
)


def test_events_are_parsed_in_both_forms():
    spans = [("beep", 0.5, 1.0), ("beep", 2.0, 2.5), ("hum", 0.0, 3.0)]
    assert parse_events(EVENTS) == spans
    assert sorted(parse_events("0.50-1.00 beep, 2.00-2.50 beep, 0.00-3.00 hum")) == sorted(spans)


def test_an_event_must_start_and_end_within_the_collar():
    assert score(EventF1, EVENTS, EVENTS) == 1.0
    late = EVENTS.replace("<|0.50|>", "<|0.71|>")
    assert score(EventF1, late, EVENTS) == pytest.approx(4 / 6)
    assert score(EventF1, EVENTS.replace("<|0.50|>", "<|0.69|>"), EVENTS) == 1.0


def test_segments_are_seconds():
    # hum is active in seconds 0 to 2, beep in 0 and 2: 5 pairs in the reference, 2 in the answer, 2 in both.
    assert score(SegmentF1, "0.50-1.00 beep, 2.00-2.50 beep", EVENTS) == pytest.approx(4 / 7)


def test_turns_are_parsed_with_shared_or_repeated_stamps():
    turns = [("speaker 1", 0.0, 1.0), ("speaker 2", 1.0, 2.0)]
    assert parse_turns("<|0.00|>speaker 1<|1.00|>speaker 2<|2.00|>") == turns
    assert parse_turns("<|0.00|><|0.00|>speaker 1<|1.00|><|1.00|>speaker 2<|2.00|>") == turns


def test_a_very_long_turn_needs_no_frames():
    assert score(DiarizationErrorRate, "0.00-99999999999.00 speaker 1", "0.00-1.00 speaker 1") == 1.0


def test_many_long_speakers_are_scored_quickly():
    answer = ", ".join(f"0.00-9999.00 speaker {number}" for number in range(60))
    start_time = time.process_time()
    assert score(DiarizationErrorRate, answer, answer) == 0.0
    assert time.process_time() - start_time < 0.5


times = st.integers(0, 3000).map(lambda hundredths: hundredths / 100)
turns = st.lists(st.tuples(st.sampled_from("abcd"), times, times), max_size=12)


@given(turns, turns)
def test_diarization_error_equals_that_of_pyannote(outputs, targets):
    if not any(start < end for _, start, end in targets):
        return

    def annotation(turns):
        result = Annotation()
        for number, (speaker, start, end) in enumerate(turns):
            result[Segment(start, end), number] = speaker
        return result.support()

    def words(turns):
        return ", ".join(f"{start:.2f}-{end:.2f} {speaker}" for speaker, start, end in turns)

    expected = diarization.DiarizationErrorRate()(
        annotation(targets), annotation(outputs), uem=Timeline([Segment(0.0, 31.0)])
    )
    assert score(DiarizationErrorRate, words(outputs), words(targets)) == pytest.approx(expected)


def test_speaker_names_do_not_matter():
    reference = "<|0.00|>speaker 1<|1.00|><|1.00|>speaker 2<|2.00|>"
    swapped = "<|0.00|>speaker 2<|1.00|><|1.00|>speaker 1<|2.00|>"
    assert score(DiarizationErrorRate, swapped, reference) == 0.0
    assert score(DiarizationErrorRate, "<|0.00|>speaker 1<|2.00|>", reference) == pytest.approx(0.5)
    assert score(DiarizationErrorRate, "", reference) == pytest.approx(1.0)


@given(st.text("abc", max_size=8), st.text("abc", max_size=8))
def test_the_path_of_the_pairs_has_the_fewest_edits(one, other):
    """Between two pairs, as many substitutions as there are symbols on both sides; the rest is inserted or deleted."""
    pairs = equal_units(*([Unit(symbol, 0.0, 0.0) for symbol in row] for row in (one, other)))
    borders = [(-1, -1), *pairs, (len(one), len(other))]
    edits = sum(
        max(after[0] - before[0], after[1] - before[1]) - 1 for before, after in itertools.pairwise(borders)
    )
    assert edits == Levenshtein.distance(one, other)


@given(st.integers(0, 50), st.lists(st.integers(1, 60), min_size=2, max_size=9))
def test_a_delay_of_all_units_is_twice_their_shift(delay, lengths):
    ends = [sum(lengths[: place + 1]) / 100 for place in range(len(lengths))]

    def text(late):
        return ", ".join(
            f"{start + late:.2f}-{end + late:.2f} {chr(97 + place)}"
            for place, (start, end) in enumerate(itertools.pairwise(ends))
        )

    assert score(AverageShift, text(delay / 100), text(0.0)) == pytest.approx(20 * delay)
    assert score(MatchedFraction, text(delay / 100), text(0.0)) == 1.0


near = st.integers(0, 60).map(lambda hundredths: hundredths / 100)
spans = st.lists(st.tuples(st.sampled_from("ab"), near, near), max_size=4)


def plain(spans):
    return ", ".join(f"{start:.2f}-{end:.2f} {name}" for name, start, end in spans)


@given(spans, spans)
@example([("a", 0.5, 0.6)], [("a", 0.3, 0.6)])  # both ends of the collar
@example([("a", 0.5, 0.6)], [("a", 0.29, 0.6)])
def test_the_f1_of_events_is_that_of_the_best_of_all_matchings(outputs, targets):
    def is_hit(one, other):
        return one[0] == other[0] and all(
            abs(round(100 * a) - round(100 * b)) <= 20 for a, b in zip(one[1:], other[1:], strict=True)
        )

    few, many = sorted((outputs, targets), key=len)
    hits = max(
        sum(is_hit(*pair) for pair in zip(few, chosen, strict=True))
        for chosen in itertools.permutations(many, len(few))
    )
    total = len(outputs) + len(targets)
    expected = 2 * hits / total if total else 1.0
    assert score(EventF1, plain(outputs), plain(targets)) == pytest.approx(expected)


seconds = st.integers(0, 400).map(lambda hundredths: hundredths / 100)
events = st.lists(
    st.tuples(st.sampled_from("ab"), seconds, seconds).filter(lambda row: row[1] < row[2]), max_size=4
)


@given(events, events)
@settings(max_examples=30)
def test_the_f1_of_segments_is_that_of_scikit_learn_over_seconds(outputs, targets):
    """An event is active in a second if it is at one of its hundredths."""

    def activity(spans):
        grid = np.zeros((2, 400), dtype=bool)
        for name, start, end in spans:
            grid["ab".index(name), round(100 * start) : round(100 * end)] = True
        return grid.reshape(2, 4, 100).any(2).T

    expected = f1_score(activity(targets), activity(outputs), average="micro", zero_division=1)
    assert score(SegmentF1, plain(outputs), plain(targets)) == pytest.approx(expected)
