"""Word-level time stamps as text: units, and the one string that holds them.

N units share N+1 stamps on a 10 ms grid, and a silence is a unit of its own:
``<|0.00|><|sil|><|0.50|>she<|0.67|>sells<|1.01|>``. The target ends where the
last word ends. Who is asked for stamps, and how they are judged, is elsewhere.

Source: Qwen-Audio, arXiv:2311.07919, section 3 (SRWT) and its released tokenizer.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from audio_lm.common.audio_units import MAX_SECONDS, Seconds
from audio_lm.common.errors import DataError
from audio_lm.common.markup import TAG

SILENCE = "<|sil|>"
MIN_SILENCE: Seconds = 0.05  # a shorter gap belongs to the unit before it
STAMPS_PER_SECOND = 100
MAX_STAMP = round(MAX_SECONDS * STAMPS_PER_SECOND)

STAMP = re.compile(r"<\|([0-9]{1,2}\.[0-9]{2})\|>")
"""A time stamp; its group is the time in seconds."""


class Unit(NamedTuple):
    """A word (in Chinese a character) or a silence, and when it sounds."""

    symbol: str
    start: Seconds
    end: Seconds


def stamp(seconds: Seconds) -> str:
    """The token of a moment, to the nearest 10 ms.

    Raises:
        DataError: the moment lies outside of what the encoder sees at once.

    >>> stamp(0.5), stamp(7.151)
    ('<|0.50|>', '<|7.15|>')
    """
    hundredths = _on_grid(seconds)
    if not 0 <= hundredths <= MAX_STAMP:
        raise DataError(
            f"{seconds} s has no time stamp, they run from 0 to {MAX_SECONDS:.0f} s; cut the clip shorter"
        )
    return f"<|{hundredths / STAMPS_PER_SECOND:.2f}|>"


def timed_units(units: Iterable[tuple[str, Seconds, Seconds]], *, num_seconds: Seconds) -> list[Unit]:
    """Units end to end from 0 s to the last word's end, silences made explicit.

    A gap below 50 ms goes to the unit before it, because an onset is heard more
    sharply than an ending (the first unit, which has none before it, reaches back
    to 0 s). Where two units overlap the earlier one keeps the time. Blank units
    and silences in ``units`` are read as gaps.

    Args:
        units: symbol, start, end.
        num_seconds: of the clip; no unit ends later.

    Raises:
        DataError: a unit starts after the clip has ended.
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
                f"unit {word!r} starts at {start} s, after the end at {limit / STAMPS_PER_SECOND} s; "
                f"cut the clip and its alignment together"
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
    """What can be read of a string with stamps; never an error.

    A unit is what stands between two stamps. Words before the first stamp or
    after the last one have no time and are left out, as is any other markup;
    times are kept as written, even when they run backwards.

    >>> parse_units("<|0.00|><|sil|><|0.50|>she<|0.67|>sel")
    [Unit(symbol='<|sil|>', start=0.0, end=0.5), Unit(symbol='she', start=0.5, end=0.67)]
    """
    units: list[Unit] = []
    start: Seconds | None = None
    position = 0
    for match in STAMP.finditer(text):
        hundredths = _on_grid(float(match[1]))
        if hundredths > MAX_STAMP:
            continue  # not a token of the vocabulary, so it is markup like any other
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
