"""Messages of the OpenAI chat protocol: text, and audio as base64 of WAV or MP3.

A file of another format is rewritten as WAV, because the protocol knows only these two.
"""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from audio_lm.common.errors import DataError

Part = dict[str, Any]


def text_part(text: str) -> Part:
    """Text in a message."""
    return {"type": "text", "text": text}


def audio_part(content: bytes, name: str = "audio") -> Part:
    """Clip in a message.

    Args:
        content: an audio file: WAV and MP3 are sent as they are, others of libsndfile as WAV.
        name: of the clip, for an error.

    Raises:
        DataError: the bytes are no such file.
    """
    kind = audio_format(content)
    if kind is None:
        content, kind = _as_wav(content, name), "wav"
    data = base64.b64encode(content).decode("ascii")
    return {"type": "input_audio", "input_audio": {"data": data, "format": kind}}


def audio_file_part(path: Path) -> Part:
    """Clip in a message, from a file.

    Raises:
        DataError: it cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}) -- expected an audio file -- correct the path"
        ) from None
    return audio_part(content, str(path))


def wave_part(samples: np.ndarray, samples_per_second: int) -> Part:
    """Clip in a message, from its samples in [-1, 1], mono or frames x channels."""
    file = io.BytesIO()
    soundfile.write(file, samples, samples_per_second, format="WAV", subtype="PCM_16")
    return audio_part(file.getvalue())


def message(role: str, parts: Sequence[Part] | str) -> dict[str, Any]:
    """Turn of a conversation, from its parts or its text."""
    return {"role": role, "content": parts if isinstance(parts, str) else list(parts)}


def audio_format(content: bytes) -> str | None:
    """Format of an audio file by its first bytes: `wav`, `mp3` or None.

    >>> audio_format(b"RIFF....WAVEfmt "), audio_format(b"ID3.."), audio_format(b"fLaC")
    ('wav', 'mp3', None)
    """
    if content[:4] == b"RIFF" and content[8:12] == b"WAVE":
        return "wav"
    # The frame sync of MPEG audio: 11 bits, then version and layer III, which AAC's sync (layer 0) is not.
    is_frame = len(content) > 1 and content[0] == 0xFF and content[1] & 0xE6 == 0xE2
    return "mp3" if content[:3] == b"ID3" or is_frame else None


def _as_wav(content: bytes, name: str) -> bytes:
    try:
        samples, samples_per_second = soundfile.read(io.BytesIO(content), dtype="int16")
    except soundfile.LibsndfileError:
        raise DataError(
            f"{name} is no audio file that can be sent -- expected WAV, MP3, FLAC, Ogg or AIFF -- convert it"
        ) from None
    file = io.BytesIO()
    soundfile.write(file, samples, samples_per_second, format="WAV", subtype="PCM_16")
    return file.getvalue()
