"""Word-level timestamps (SRWT): conversion between timed units and text.

N units share N+1 timestamps on a 10 ms grid, and a silence is a separate unit:
``<|0.00|><|sil|><|0.50|>she<|0.67|>sells<|1.01|>``. The target ends at the end of
the last word. The tasks and metrics that use it are elsewhere.

Source: Qwen-Audio, arXiv:2311.07919, section 3 (SRWT) and its released tokenizer.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from audio_lm.common.audio_units import MAX_SECONDS, Seconds
from audio_lm.common.errors import DataError
from audio_lm.common.markup import TAG

SILENCE = "<|sil|>"
MIN_SILENCE: Seconds = 0.05  # a shorter gap is added to the unit before it
STAMPS_PER_SECOND = 100
MAX_STAMP = round(MAX_SECONDS * STAMPS_PER_SECOND)

STAMP = re.compile(r"<\|([0-9]{1,2}\.[0-9]{2})\|>")
"""A time stamp; its group is the time in seconds."""


class Unit(NamedTuple):
    """Word (in Chinese a character) or silence, with start and end."""

    symbol: str
    start: Seconds
    end: Seconds


def stamp(seconds: Seconds) -> str:
    """Timestamp token of a time, rounded to 10 ms.

    Raises:
        DataError: the time is outside the input length of the encoder.

    >>> stamp(0.5), stamp(7.151)
    ('<|0.50|>', '<|7.15|>')
    """
    hundredths = _on_grid(seconds)
    if not 0 <= hundredths <= MAX_STAMP:
        raise DataError(
            f"{seconds} s has no timestamp token, expected 0 to {MAX_SECONDS:.0f} s; shorten the clip"
        )
    return f"<|{hundredths / STAMPS_PER_SECOND:.2f}|>"


def timed_units(units: Iterable[tuple[str, Seconds, Seconds]], *, num_seconds: Seconds) -> list[Unit]:
    """Contiguous units from 0 s to the end of the last word, with explicit silences.

    A gap below 50 ms is added to the unit before it, because onsets are perceived more
    precisely than ends (the first unit is extended back to 0 s instead). Where two units
    overlap, the earlier one keeps the time. Empty units and silences in ``units`` count as gaps.

    Args:
        units: symbol, start, end.
        num_seconds: length of the clip; no unit ends later.

    Raises:
        DataError: a unit starts after the end of the clip.
    """
    limit = min(_on_grid(num_seconds), MAX_STAMP)
    timed: list[tuple[str, int, int]] = []
    now = 0
    for symbol, start, end in sorted(units, key=lambda unit: unit[1]):
        word = symbol.strip()
        if word in ("", SILENCE):
            continue
        first = max(_on_grid(start), now)
        if first > limit:
            raise DataError(
                f"unit {word!r} starts at {start} s, after the end of the clip at {limit / STAMPS_PER_SECOND} s; "
                f"trim the clip together with its alignment"
            )
        if first - now >= _on_grid(MIN_SILENCE):
            timed.append((SILENCE, now, first))
        elif timed:
            timed[-1] = (*timed[-1][:2], first)
        else:
            first = 0
        now = min(max(_on_grid(end), first), limit)
        timed.append((word, first, now))
    return [Unit(symbol, start / STAMPS_PER_SECOND, end / STAMPS_PER_SECOND) for symbol, start, end in timed]


def parse_units(text: str) -> list[Unit]:
    """Parse a string with timestamps; malformed text gives fewer units, not an error.

    A unit is the text between two timestamps. Words before the first or after the last
    timestamp have no time and are dropped, as is other markup. Times are kept as written,
    even if they decrease.

    >>> parse_units("<|0.00|><|sil|><|0.50|>she<|0.67|>sel")
    [Unit(symbol='<|sil|>', start=0.0, end=0.5), Unit(symbol='she', start=0.5, end=0.67)]
    """
    units: list[Unit] = []
    start: Seconds | None = None
    position = 0
    for match in STAMP.finditer(text):
        hundredths = _on_grid(float(match[1]))
        if hundredths > MAX_STAMP:
            continue  # not a token of the vocabulary, so it is treated as other markup
        moment = hundredths / STAMPS_PER_SECOND
        symbol = _symbol(text[position : match.start()])
        if start is not None and symbol:
            units.append(Unit(symbol, start, moment))
        start, position = moment, match.end()
    return units


def _symbol(between: str) -> str:
    words = TAG.sub(" ", between).strip()
    return words or (SILENCE if SILENCE in between else "")


def _on_grid(seconds: Seconds) -> int:
    return round(seconds * STAMPS_PER_SECOND)
