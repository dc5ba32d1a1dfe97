"""Answers with times: word stamps, sound events, speaker turns.

Each is read with stamps or, where there are none, in words (``0.50-0.67 she``).
AAS is counted as Qwen-Audio's script does, over matched units only. An event is
found when onset and offset both lie within 200 ms.

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
# The end stays for the next turn to begin with: a model may share stamps, as word stamps are shared.
TURN = re.compile(rf"{STAMP.pattern}\s*([^<\s][^<]*)(?={STAMP.pattern})")
# Four digits: a model may write any number, and segments are counted one by one.
PLAIN = re.compile(r"\b(\d{1,4}\.\d\d)-(\d{1,4}\.\d\d) ([^,]*)")

Span = tuple[str, Seconds, Seconds]


class AverageShift(SumMetric):
    """AAS in ms: start and end differences together, per unit that was matched; infinite when none was."""

    def count(self, answer: str, reference: str, language: str) -> tuple[int, int]:
        said, meant = _units(answer), _units(reference)
        matched = equal_units(said, meant)
        return sum(_shift(said[i], meant[j]) for i, j in matched), len(matched)

    def value(self, hundredths: int, matched: int) -> float:
        return 1000 * hundredths / (STAMPS_PER_SECOND * matched) if matched else float("inf")


class MatchedShare(SumMetric):
    """Share of the reference units that AAS could compare."""

    def count(self, answer: str, reference: str, language: str) -> tuple[int, int]:
        said, meant = _units(answer), _units(reference)
        return len(equal_units(said, meant)), len(meant)

    def value(self, matched: int, units: int) -> float:
        return matched / max(1, units)


def _units(text: str) -> list[Unit]:
    return parse_units(text) or [Unit(*span) for span in _plain_spans(text)]


def _shift(ours: Unit, theirs: Unit) -> int:
    times = zip((ours.start, ours.end), (theirs.start, theirs.end), strict=True)
    return sum(abs(_on_grid(a) - _on_grid(b)) for a, b in times)


def equal_units(ours: Sequence[Unit], theirs: Sequence[Unit]) -> list[tuple[int, int]]:
    """Pairs of equal symbols on the cheapest edit path between two rows of units."""
    cost = np.zeros((len(ours) + 1, len(theirs) + 1), dtype=np.int64)
    cost[:, 0], cost[0, :] = np.arange(len(ours) + 1), np.arange(len(theirs) + 1)
    for i, a in enumerate(ours, start=1):
        for j, b in enumerate(theirs, start=1):
            change = cost[i - 1, j - 1] + (a.symbol.strip() != b.symbol.strip())
            cost[i, j] = min(change, cost[i - 1, j] + 1, cost[i, j - 1] + 1)
    pairs, i, j = [], len(ours), len(theirs)
    while i and j:
        is_equal = ours[i - 1].symbol.strip() == theirs[j - 1].symbol.strip()
        if cost[i, j] == cost[i - 1, j - 1] + (not is_equal):
            pairs += [(i - 1, j - 1)] if is_equal else []
            i, j = i - 1, j - 1
        elif cost[i, j] == cost[i - 1, j] + 1:
            i -= 1
        else:
            j -= 1
    return pairs[::-1]


def parse_events(text: str) -> list[Span]:
    """Events with start and end, from either form."""
    spans = []
    for match in EVENT.finditer(text):
        times = [float(time) for time in STAMP.findall(match[2])]
        spans += [(match[1].strip(), start, end) for start, end in zip(times[::2], times[1::2], strict=False)]
    return spans or _plain_spans(text)


def parse_turns(text: str) -> list[Span]:
    """Speaker turns, from either form."""
    turns = [(match[2].strip(), float(match[1]), float(match[3])) for match in TURN.finditer(text)]
    return turns or _plain_spans(text)


def _plain_spans(text: str) -> list[Span]:
    return [(match[3].strip(), float(match[1]), float(match[2])) for match in PLAIN.finditer(text)]


class EventF1(SumMetric):
    """F1 of events found with the right name, start and end, both within 200 ms."""

    def count(self, answer: str, reference: str, language: str) -> tuple[int, int]:
        said, meant = parse_events(answer), parse_events(reference)
        fits = np.array([[_fits(a, b) for b in meant] for a in said], dtype=float)
        fits = fits.reshape(len(said), len(meant))
        return int(fits[linear_sum_assignment(-fits)].sum()), len(said) + len(meant)

    def value(self, hits: int, named: int) -> float:
        return 2 * hits / named if named else 1.0


def _fits(ours: Span, theirs: Span) -> bool:
    near = all(abs(a - b) <= COLLAR + 1e-9 for a, b in zip(ours[1:], theirs[1:], strict=True))
    return ours[0] == theirs[0] and near


class SegmentF1(OverlapF1):
    """F1 of (event, whole second) pairs in which the event sounds."""

    def named(self, text: str) -> set[tuple[str, int]]:
        return {
            (name, segment)
            for name, start, end in parse_events(text)
            for segment in range(int(start * SEGMENTS_PER_SECOND), int(np.ceil(end * SEGMENTS_PER_SECOND)))
        }


class DiarizationErrorRate(SumMetric):
    """DER: missed, false and confused speaker time over reference speaker time, speakers mapped at their best.

    No collar, overlaps count, and a speaker who overlaps with himself speaks once: the same number as
    pyannote.metrics gives for ``Annotation.support()``.
    """

    def count(self, answer: str, reference: str, language: str) -> tuple[int, int]:
        said, meant = parse_turns(answer), parse_turns(reference)
        edges = np.unique([_on_grid(time) for _, *times in (*said, *meant) for time in times])
        lengths = np.diff(edges)
        ours, theirs = _activity(said, edges), _activity(meant, edges)
        together = (ours * lengths) @ theirs.T
        right = together[linear_sum_assignment(-together)].sum()
        wrong = np.maximum(ours.sum(0), theirs.sum(0)) @ lengths - right
        return int(wrong), int((theirs @ lengths).sum())

    def value(self, wrong: int, spoken: int) -> float:
        return wrong / spoken if spoken else float(wrong > 0)


def _activity(turns: Sequence[Span], edges: np.ndarray) -> np.ndarray:
    """(speakers, intervals between edges): 1 where the speaker speaks."""
    speakers = sorted({speaker for speaker, _, _ in turns})
    activity = np.zeros((len(speakers), max(0, len(edges) - 1)), dtype=np.int64)
    for speaker, start, end in turns:
        first, last = np.searchsorted(edges, (_on_grid(start), _on_grid(end)))
        activity[speakers.index(speaker), first:last] = 1
    return activity


def _on_grid(time: Seconds) -> int:
    """In hundredths of a second, as stamps are written; whole numbers, so that sums are exact."""
    return round(time * STAMPS_PER_SECOND)
