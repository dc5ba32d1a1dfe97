"""Edits of a recording at the words that a model found in it; the recording itself is never changed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from audio_lm.chat.grounding import Grounding, Span
from audio_lm.common.audio_units import Seconds
from audio_lm.common.errors import DataError, UserError
from audio_lm.data.audio import decode
from audio_lm.data.audio.clip_waves import read_wave
from audio_lm.data.audio.decode import Wave
from audio_lm.data.audio.edit import bleep_spans, delete_spans, replace_spans, write_edited
from audio_lm.data.audio.errors import AudioError

MARGIN: Seconds = 0.06
"""Of 34 edited strings of recorded digits, the transcripts of 32 lack the word with it, and of 27 without."""


@dataclass(frozen=True)
class Edit:
    """Change of the spans."""

    kind: Literal["delete", "bleep", "replace"]

    replacement: Path | None = None
    """Audio file in the place of each span; for ``replace`` only."""

    margin: Seconds = MARGIN
    """Added on both sides of each span."""


def choose_spans(found: Grounding, occurrence: int | None = None) -> list[Span]:
    """Spans to edit.

    Args:
        occurrence: number of the occurrence from 1; None for all.

    Raises:
        UserError: the words do not occur, or not so often.
    """
    if not found.spans:
        raise UserError(
            f"{found.wanted!r} was not found in {found.audio}; the model reads {found.transcript!r} -- choose words of it"
        )
    if occurrence is None:
        return list(found.spans)
    if not 1 <= occurrence <= len(found.spans):
        raise UserError(
            f"occurrence {occurrence} of {found.wanted!r} -- expected 1 to {len(found.spans)}, which is how often it was found "
            f"in {found.audio}; choose one"
        )
    return [found.spans[occurrence - 1]]


def edit_file(source: str | Path, target: Path, spans: list[Span], edit: Edit) -> None:
    """Edit a recording in its own sampling rate and channels, and write the result to a new file.

    Raises:
        DataError: a file is no audio, the target exists, or nothing would be left.
    """
    try:
        wave, rate, _ = decode.read(str(source))
    except (AudioError, OSError) as error:
        raise DataError(f"{error}; give a file with audio") from error
    times = [(span.start - edit.margin, span.end + edit.margin) for span in spans]
    if edit.kind == "bleep":
        edited = bleep_spans(wave, rate, times)
    elif edit.kind == "delete":
        edited = delete_spans(wave, rate, times)
    else:
        assert edit.replacement is not None, "a replacement has a file"
        edited = replace_spans(wave, rate, times, _replacement(edit.replacement, rate, len(wave)))
    if edited.shape[1] == 0:
        raise DataError(f"{source}: nothing is left without these words; use --bleep")
    write_edited(target, edited, rate, source=Path(source))


def _replacement(path: Path, rate: int, num_channels: int) -> Wave:
    """(C, M) samples of a file at another rate, the same in all channels if it has another number of them."""
    try:
        found = decode.read(str(path))
    except (AudioError, OSError) as error:
        raise DataError(f"{error}; give a file with audio") from error
    if len(found.wave) == num_channels:
        channels = [
            read_wave(channel, rate=found.rate, target=rate, name=str(path)) for channel in found.wave
        ]
    else:
        channels = [read_wave(found.wave.T, rate=found.rate, target=rate, name=str(path))] * num_channels
    return np.stack(channels)
