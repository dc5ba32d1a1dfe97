"""Metrics of answers with times: word time stamps, sound events, speaker turns.

Answers are parsed in two forms: with time stamp tags or, if there are none, as plain text (``0.50-0.67 she``).
AAS is computed over matched units only, as in Qwen-Audio's script. An event is correct if its onset and offset
are both within 200 ms.

Source: Qwen-Audio, eval_audio/evaluate_srwt.py at e81cc26 (``as_cal``); NIST's
md-eval for DER.
"""

import re
from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from audio_lm.common.audio_units import Seconds
from audio_lm.common.word_timestamps import STAMP, STAMPS_PER_SECOND, Unit, parse_units
from audio_lm.metrics.clip_metric import SumMetric
from audio_lm.metrics.labels import OverlapF1

COLLAR: Seconds = 0.2
SEGMENTS_PER_SECOND = 1
EVENT = re.compile(r"<\|startofword\|>(.*?)<\|endofword\|>(.*?)(?=<\|startofword\|>|$)", re.DOTALL)
# The end stamp is a lookahead: a model may write one stamp as the end of a turn and the start of the next.
TURN = re.compile(rf"{STAMP.pattern}\s*([^<\s][^<]*)(?={STAMP.pattern})")
# At most four digits: a model may write any number, and a segment is created for every second of an event.
PLAIN = re.compile(r"\b(\d{1,4}\.\d\d)-(\d{1,4}\.\d\d) ([^,]*)")

Span = tuple[str, Seconds, Seconds]


class AverageShift(SumMetric):
    """AAS in ms: sum of start and end differences per matched unit; infinite if no unit matches."""

    def count(self, answer: str, reference: str, language: str) -> tuple[int, int]:
        hypothesis, target = _units(answer), _units(reference)
        matched = equal_units(hypothesis, target)
        return sum(_shift(hypothesis[i], target[j]) for i, j in matched), len(matched)

    def value(self, hundredths: int, matched: int) -> float:
        return 1000 * hundredths / (STAMPS_PER_SECOND * matched) if matched else float("inf")


class MatchedFraction(SumMetric):
    """Fraction of the reference units that AAS compares."""

    def count(self, answer: str, reference: str, language: str) -> tuple[int, int]:
        hypothesis, target = _units(answer), _units(reference)
        return len(equal_units(hypothesis, target)), len(target)

    def value(self, matched: int, units: int) -> float:
        return matched / max(1, units)


def _units(text: str) -> list[Unit]:
    return parse_units(text) or [Unit(*span) for span in _plain_spans(text)]


def _shift(hypothesis: Unit, target: Unit) -> int:
    times = zip((hypothesis.start, hypothesis.end), (target.start, target.end), strict=True)
    return sum(abs(_to_hundredths(a) - _to_hundredths(b)) for a, b in times)


def equal_units(hypothesis: Sequence[Unit], target: Sequence[Unit]) -> list[tuple[int, int]]:
    """Index pairs of equal symbols on the path with the fewest edits between two sequences of units."""
    cost = np.zeros((len(hypothesis) + 1, len(target) + 1), dtype=np.int64)
    cost[:, 0], cost[0, :] = np.arange(len(hypothesis) + 1), np.arange(len(target) + 1)
    for i, a in enumerate(hypothesis, start=1):
        for j, b in enumerate(target, start=1):
            substitution = cost[i - 1, j - 1] + (a.symbol.strip() != b.symbol.strip())
            cost[i, j] = min(substitution, cost[i - 1, j] + 1, cost[i, j - 1] + 1)
    pairs, i, j = [], len(hypothesis), len(target)
    while i and j:
        is_equal = hypothesis[i - 1].symbol.strip() == target[j - 1].symbol.strip()
        if cost[i, j] == cost[i - 1, j - 1] + (not is_equal):
            pairs += [(i - 1, j - 1)] if is_equal else []
            i, j = i - 1, j - 1
        elif cost[i, j] == cost[i - 1, j] + 1:
            i -= 1
        else:
            j -= 1
    return pairs[::-1]


def parse_events(text: str) -> list[Span]:
    """Parse sound events with start and end, in either form."""
    spans = []
    for match in EVENT.finditer(text):
        times = [float(time) for time in STAMP.findall(match[2])]
        spans += [(match[1].strip(), start, end) for start, end in zip(times[::2], times[1::2], strict=False)]
    return spans or _plain_spans(text)


def parse_turns(text: str) -> list[Span]:
    """Parse speaker turns, in either form."""
    turns = [(match[2].strip(), float(match[1]), float(match[3])) for match in TURN.finditer(text)]
    return turns or _plain_spans(text)


def _plain_spans(text: str) -> list[Span]:
    return [(match[3].strip(), float(match[1]), float(match[2])) for match in PLAIN.finditer(text)]


class EventF1(SumMetric):
    """F1 of events; one is correct if name, start and end match, the times within 200 ms."""

    def count(self, answer: str, reference: str, language: str) -> tuple[int, int]:
        hypothesis, target = parse_events(answer), parse_events(reference)
        matches = np.array([[_is_match(a, b) for b in target] for a in hypothesis], dtype=float)
        matches = matches.reshape(len(hypothesis), len(target))
        return int(matches[linear_sum_assignment(-matches)].sum()), len(hypothesis) + len(target)

    def value(self, hits: int, total: int) -> float:
        return 2 * hits / total if total else 1.0


def _is_match(hypothesis: Span, target: Span) -> bool:
    is_near = all(abs(a - b) <= COLLAR + 1e-9 for a, b in zip(hypothesis[1:], target[1:], strict=True))
    return hypothesis[0] == target[0] and is_near


class SegmentF1(OverlapF1):
    """F1 of (event, second) pairs: the seconds in which an event is active."""

    def items(self, text: str) -> set[tuple[str, int]]:
        return {
            (name, segment)
            for name, start, end in parse_events(text)
            for segment in range(int(start * SEGMENTS_PER_SECOND), int(np.ceil(end * SEGMENTS_PER_SECOND)))
        }


class DiarizationErrorRate(SumMetric):
    """DER: missed, false alarm and confused speaker time over reference speaker time, with the best speaker mapping.

    Without collar and with overlaps. Overlapping turns of the same speaker are merged. The value equals that of
    pyannote.metrics for ``Annotation.support()``.
    """

    def count(self, answer: str, reference: str, language: str) -> tuple[int, int]:
        hypothesis, target = parse_turns(answer), parse_turns(reference)
        edges = np.unique([_to_hundredths(time) for _, *times in (*hypothesis, *target) for time in times])
        durations = np.diff(edges)
        answer_activity, target_activity = _activity(hypothesis, edges), _activity(target, edges)
        overlap = (answer_activity * durations) @ target_activity.T
        right = overlap[linear_sum_assignment(-overlap)].sum()
        wrong = np.maximum(answer_activity.sum(0), target_activity.sum(0)) @ durations - right
        return int(wrong), int((target_activity @ durations).sum())

    def value(self, wrong: int, spoken: int) -> float:
        return wrong / spoken if spoken else float(wrong > 0)


def _activity(turns: Sequence[Span], edges: np.ndarray) -> np.ndarray:
    """(speakers, intervals between edges) matrix, 1 where the speaker is active."""
    speakers = sorted({speaker for speaker, _, _ in turns})
    activity = np.zeros((len(speakers), max(0, len(edges) - 1)), dtype=np.int64)
    for speaker, start, end in turns:
        first, last = np.searchsorted(edges, (_to_hundredths(start), _to_hundredths(end)))
        activity[speakers.index(speaker), first:last] = 1
    return activity


def _to_hundredths(time: Seconds) -> int:
    """Convert seconds to hundredths, the resolution of time stamps; sums of integers are exact."""
    return round(time * STAMPS_PER_SECOND)
