"""Parts of an answer that have a place in an audio: words between time stamps, and intervals named in a sentence.

The forms are those of the tasks' answers, with stamps and in plain words (``tasks.targets``), and the sentence of
Qwen-Audio's grounding: ``The word "sea" starts at <|1.00|> seconds and ends at <|1.50|> seconds.``
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from audio_lm.common.audio_units import Seconds
from audio_lm.common.markup import MARKUP
from audio_lm.common.word_timestamps import STAMP

# What stands between the two stamps of one interval: `to`, `-`, `seconds and ends at`.
JOINT = re.compile(r"\s*(seconds?|s)?\s*,?\s*(and|to|until|-)\s*(it\s+)?(ends?\s+at)?\s*", re.IGNORECASE)
QUOTED = re.compile(r'"([^"]+)"')
AUDIO = re.compile(r"\baudio (\d+)", re.IGNORECASE)
PLAIN_SPAN = re.compile(r"\b(\d{1,4}\.\d\d)-(\d{1,4}\.\d\d) ([^,]+)")
EVENT = re.compile(rf"<\|startofword\|>(.*?)<\|endofword\|>((?:{STAMP.pattern}|<\|delim\|>|\s)*)", re.DOTALL)


@dataclass(frozen=True)
class Span:
    """Part of an answer that stands for an interval of one audio."""

    text: str
    start: Seconds
    end: Seconds
    clip: int
    """Number of the audio in the conversation, from 1."""


def split_spans(text: str, *, num_clips: int) -> list[str | Span]:
    """Divide an answer into plain text and spans, in order; other markup is left out.

    A span belongs to the audio that the answer has named last before it, such as ``Audio 2``, else to the latest audio.
    Where a sentence gives an interval, the span is the quoted word before it.

    >>> split_spans("<|0.00|><|sil|><|0.50|>she<|0.67|>", num_clips=1)
    [Span(text='she', start=0.5, end=0.67, clip=1)]
    >>> split_spans('"sea" is from <|1.00|> to <|1.50|> s', num_clips=2)
    [Span(text='sea', start=1.0, end=1.5, clip=2), ' is from ', '1.00', ' to ', '1.50', ' s']
    """
    if not num_clips:
        found: Iterator[str | Span] = iter((STAMP.sub(r"\1 ", text),))
    elif EVENT.search(text):
        found = _events(text, num_clips)
    elif PLAIN_SPAN.search(text):
        found = _plain_spans(text, num_clips)
    else:
        found = _stamped(text, num_clips)
    parts = (MARKUP.sub("", part) if isinstance(part, str) else part for part in found)
    return [part for part in parts if part]


def _events(text: str, clip: int) -> Iterator[str | Span]:
    """Sound events, each with all its intervals."""
    position = 0
    for match in EVENT.finditer(text):
        yield text[position : match.start()]
        times = [float(time) for time in STAMP.findall(match[2])]
        for start, end in zip(times[::2], times[1::2], strict=False):
            yield Span(match[1].strip(), start, end, clip)
        position = match.end()
    yield text[position:]


def _plain_spans(text: str, clip: int) -> Iterator[str | Span]:
    """Intervals in plain words, such as ``0.50-0.67 she``."""
    position = 0
    for match in PLAIN_SPAN.finditer(text):
        yield text[position : match.start()]
        yield Span(match[3].strip(), float(match[1]), float(match[2]), clip)
        position = match.end()
    yield text[position:]


def _stamped(text: str, num_clips: int) -> Iterator[str | Span]:
    """Words between stamps, and sentences with intervals."""
    marks = list(STAMP.finditer(text))
    clip, position, is_word_start = num_clips, 0, False
    for number, mark in enumerate(marks):
        following = marks[number + 1] if mark is not marks[-1] else None
        before = text[position : mark.start()]
        clip = _named_clip(before, clip, num_clips)
        if is_word_start and JOINT.fullmatch(before):
            yield from (before, mark[1])
            is_word_start = False
        elif following is not None and JOINT.fullmatch(text[mark.end() : following.start()]):
            yield from _quoted(before, float(mark[1]), float(following[1]), clip)
            yield mark[1]
            is_word_start = True
        else:
            words = MARKUP.sub("", before).strip()
            start, end = float(marks[number - 1][1]), float(mark[1])
            # A stamp before the last one begins something new.
            is_word = is_word_start and words and end > start
            yield Span(words, start, end, clip) if is_word else before
            is_word_start = True
        position = mark.end()
    yield text[position:]


def _quoted(before: str, start: Seconds, end: Seconds, clip: int) -> Iterator[str | Span]:
    """Text before an interval, with its last quoted word as the span."""
    found = list(QUOTED.finditer(before))
    if not found:
        yield before
        return
    yield before[: found[-1].start()]
    yield Span(found[-1][1], start, end, clip)
    yield before[found[-1].end() :]


def _named_clip(before: str, clip: int, num_clips: int) -> int:
    named = [int(match[1]) for match in AUDIO.finditer(before)]
    return named[-1] if named and 1 <= named[-1] <= num_clips else clip
