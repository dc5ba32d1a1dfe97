"""Durations in words."""

from audio_lm.common.audio_units import Seconds


def in_words(seconds: Seconds) -> str:
    """Duration with one or two units.

    >>> [in_words(seconds) for seconds in (0.42, 8, 75, 400, 900, 4000, 100_000)]
    ['0.4 s', '8 s', '75 s', '6.7 min', '15 min', '1 h 7 min', '27 h 47 min']
    """
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 2 else f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    if minutes < 10:
        return f"{seconds / 60:.1f} min"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
