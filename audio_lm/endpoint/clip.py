"""Clips of a request: base64 in, a complete audio file within the limits out.

Everything here is decoded once before the model's server sees it, so that neither text, nor a damaged file, nor an
hour of silence in a few bytes of MP3 reaches it. Addresses and paths are refused: `transformers serve` would fetch them.
"""

import base64
import binascii
import io
from typing import Any

import numpy as np
import soundfile

from audio_lm.common.audio_units import MIN_FRAMES, SAMPLES_PER_FRAME, SAMPLES_PER_SECOND
from audio_lm.endpoint.config import Limits
from audio_lm.endpoint.request_error import RequestError

FORMATS = {"WAV": "wav", "WAVEX": "wav", "MP3": "mp3", "MPEG": "mp3", "FLAC": "flac", "OGG": "ogg"}
"""Containers of libsndfile -> formats of the protocol."""

RATES = (4_000, 192_000)
MAX_CHANNELS = 2
MIN_SECONDS = MIN_FRAMES * SAMPLES_PER_FRAME / SAMPLES_PER_SECOND
DATA_URL = "data:"
EXPECTED = "expected base64 of a WAV, MP3, FLAC or Ogg file"


def check_clip(data: Any, limits: Limits, *, where: str) -> dict[str, Any]:
    """Check a clip and return it as a part of a message.

    Args:
        data: base64, or a data URL with it.
        where: path of the field in the request.

    Raises:
        RequestError: it is no clip, or beyond a limit.
    """
    content = _decoded(data, where)
    kind = _check_audio(content, limits, where)
    encoded = base64.b64encode(content).decode("ascii")
    return {"type": "input_audio", "input_audio": {"data": encoded, "format": kind}}


def _decoded(data: Any, where: str) -> bytes:
    if not isinstance(data, str) or not data:
        raise RequestError(f"{where} is no text; {EXPECTED}", param=where, code="invalid_audio")
    if data.startswith(DATA_URL):
        head, comma, data = data.partition(",")
        if not comma or not head.endswith(";base64"):
            raise RequestError(
                f"{where} is a data URL without ';base64,'; {EXPECTED}", param=where, code="invalid_audio"
            )
    try:
        return base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        raise RequestError(
            f"{where} is no base64; {EXPECTED}, in the message itself: addresses and paths are not read",
            param=where,
            code="invalid_base64",
        ) from None


def _check_audio(content: bytes, limits: Limits, where: str) -> str:
    """Decode a file in blocks up to the limit; returns its format."""

    def refusal(why: str) -> RequestError:
        return RequestError(f"{where} {why}", param=where, code="invalid_audio")

    try:
        with soundfile.SoundFile(io.BytesIO(content)) as sound:
            if sound.format not in FORMATS:
                raise refusal(f"is {sound.format}; {EXPECTED}")
            if not RATES[0] <= sound.samplerate <= RATES[1] or sound.channels > MAX_CHANNELS:
                raise refusal(
                    f"has {sound.samplerate} Hz and {sound.channels} channels; expected {RATES[0]} to {RATES[1]} Hz, "
                    f"{MAX_CHANNELS} channels at most"
                )
            # The header may promise any length, so only decoding up to the limit counts the samples.
            most = int(limits.max_seconds * sound.samplerate)
            samples = sound.read(most + 1, dtype="float32", always_2d=True)
            kind, seconds = FORMATS[sound.format], len(samples) / sound.samplerate
    except soundfile.LibsndfileError as error:
        raise refusal(f"is no audio file ({error.error_string.strip()}); {EXPECTED}") from None
    if len(samples) > most:
        raise refusal(f"is longer than {limits.max_seconds:g} s; send it in parts")
    if seconds < MIN_SECONDS:
        raise refusal(f"has {seconds:.3f} s of audio; expected {MIN_SECONDS:g} s or more")
    if not np.isfinite(samples).all():
        raise refusal("has samples that are no numbers; expected finite ones")
    return kind
