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

from audio_lm.srwt import STAMPS_PER_SECOND, Unit, parse_units
from audio_lm.units import Seconds

COLLAR: Seconds = 0.2
SEGMENTS_PER_SECOND = 1
STAMP = re.compile(r"<\|(\d{1,2}\.\d\d)\|>")
EVENT = re.compile(r"<\|startofword\|>(.*?)<\|endofword\|>(.*?)(?=<\|startofword\|>|$)", re.DOTALL)
# The end stays for the next turn to begin with: a model may share stamps, as word stamps are shared.
TURN = re.compile(r"<\|(\d{1,2}\.\d\d)\|>\s*([^<\s][^<]*)(?=<\|(\d{1,2}\.\d\d)\|>)")
# Four digits: a model may write any number, and segments are counted one by one.
PLAIN = re.compile(r"\b(\d{1,4}\.\d\d)-(\d{1,4}\.\d\d) ([^,]*)")

Span = tuple[str, Seconds, Seconds]


def average_shift(answers: Sequence[str], references: Sequence[str], languages: Sequence[str]) -> float:
    """AAS in ms: start and end differences together, per unit that was matched; infinite when none was."""
    total, matched = _shifts(answers, references)
    return 1000 * total / matched if matched else float("inf")


def matched_share(answers: Sequence[str], references: Sequence[str], languages: Sequence[str]) -> float:
    """Share of the reference units that AAS could compare."""
    num_units = sum(len(_units(reference)) for reference in references)
    return _shifts(answers, references)[1] / max(1, num_units)


def _shifts(answers: Sequence[str], references: Sequence[str]) -> tuple[Seconds, int]:
    total, matched = 0.0, 0
    for answer, reference in zip(answers, references, strict=True):
        said, meant = _units(answer), _units(reference)
        for i, j in equal_units(said, meant):
            total += abs(said[i].start - meant[j].start) + abs(said[i].end - meant[j].end)
            matched += 1
    return total, matched


def _units(text: str) -> list[Unit]:
    return parse_units(text) or [Unit(*span) for span in _plain_spans(text)]


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


def event_f1(answers: Sequence[str], references: Sequence[str], languages: Sequence[str]) -> float:
    """F1 of events found with the right name, start and end, both within 200 ms."""
    hits = named = 0
    for answer, reference in zip(answers, references, strict=True):
        said, meant = parse_events(answer), parse_events(reference)
        fits = np.array([[_fits(a, b) for b in meant] for a in said], dtype=float).reshape(
            len(said), len(meant)
        )
        rows, columns = linear_sum_assignment(-fits)
        hits += int(fits[rows, columns].sum())
        named += len(said) + len(meant)
    return 2 * hits / named if named else 1.0


def _fits(ours: Span, theirs: Span) -> bool:
    near = all(abs(a - b) <= COLLAR + 1e-9 for a, b in zip(ours[1:], theirs[1:], strict=True))
    return ours[0] == theirs[0] and near


def segment_f1(answers: Sequence[str], references: Sequence[str], languages: Sequence[str]) -> float:
    """F1 of (event, whole second) pairs in which the event sounds."""
    hits = named = 0
    for answer, reference in zip(answers, references, strict=True):
        said, meant = _segments(parse_events(answer)), _segments(parse_events(reference))
        hits += len(said & meant)
        named += len(said) + len(meant)
    return 2 * hits / named if named else 1.0


def _segments(spans: Sequence[Span]) -> set[tuple[str, int]]:
    return {
        (name, segment)
        for name, start, end in spans
        for segment in range(int(start * SEGMENTS_PER_SECOND), int(np.ceil(end * SEGMENTS_PER_SECOND)))
    }


def diarization_error(answers: Sequence[str], references: Sequence[str], languages: Sequence[str]) -> float:
    """DER: missed, false and confused speaker time over reference speaker time, speakers mapped at their best.

    No collar, overlaps count, and a speaker who overlaps with himself speaks once: the same number as
    pyannote.metrics gives for ``Annotation.support()``.
    """
    wrong = spoken = 0
    for answer, reference in zip(answers, references, strict=True):
        said, meant = parse_turns(answer), parse_turns(reference)
        edges = np.unique([_on_grid(time) for _, *times in (*said, *meant) for time in times])
        lengths = np.diff(edges)
        ours, theirs = _activity(said, edges), _activity(meant, edges)
        together = (ours * lengths) @ theirs.T
        rows, columns = linear_sum_assignment(-together)
        wrong += int(np.maximum(ours.sum(0), theirs.sum(0)) @ lengths - together[rows, columns].sum())
        spoken += int((theirs @ lengths).sum())
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
