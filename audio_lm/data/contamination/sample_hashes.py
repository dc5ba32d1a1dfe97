"""Hashes of the samples of clips, kept in the cache of the cut-set.

The samples of the file are hashed, before resampling, as 16-bit integers, so that a FLAC equals the WAV it was made of. Two
clips are compared first by their length, then by a probe in their middle, and only if both are equal by all samples.

Shapes: K clips.
"""

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from audio_lm.common.audio_units import Seconds
from audio_lm.common.progress import progress
from audio_lm.data.audio import decode
from audio_lm.data.audio.errors import AudioError
from audio_lm.data.audio.fingerprints import state_of
from audio_lm.data.cache import cached_table
from audio_lm.data.contamination.places import ClipPlace, places_of
from audio_lm.data.manifest.lazy_cuts import Rows
from audio_lm.data.manifest.shar import open_source

VERSION = 1  # incremented when the same audio gives another hash
PROBE: Seconds = 0.05
"""Length of the segment that is compared first."""

UNREAD = 0
"""Instead of the hash of a clip that cannot be read, is silent, or has no samples of its own in a file."""

FULL_SCALE = 32768  # of 16-bit samples
BYTES = 8  # of a hash
MIN_TOTAL = 1000  # clips that take more than a moment

Hashes = np.ndarray[Any, np.dtype[np.int64]]
Clips = Sequence[tuple[int, int]]
"""Row, and number of the clip in it."""


def hashes_of(rows: Rows, clips: Clips, *, is_probe: bool, cache: Path) -> Hashes:
    """Hash of each of some clips (K,); ``UNREAD`` where there is none.

    Args:
        rows: all rows of a cut-set.
        is_probe: hash only the probe of a clip.
        cache: folder of all indexes.
    """
    wanted = hashlib.sha256(np.array(clips, dtype=np.int64).tobytes()).hexdigest()
    known = [VERSION, is_probe, rows.index.digest, state_of(rows.index.folder).digest, wanted]
    make = partial(_hash_all, rows, clips, is_probe)
    table = cached_table(cache, f"{rows.index.source}.samples", known, make, num_rows=len(clips))
    return np.ascontiguousarray(table).view(np.int64).reshape(-1)


def _hash_all(rows: Rows, clips: Clips, is_probe: bool) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Hashes as pairs of 32-bit integers (K, 2), the type of cached tables."""
    hashes = np.zeros(len(clips), dtype=np.int64)
    title = f"comparing {rows.index.source} with the benchmarks"
    with progress(title, total=len(clips), what="clips", min_total=MIN_TOTAL) as advance:
        for number, (row, clip) in enumerate(clips):
            place = places_of(rows.facts(row))[clip]
            if place is not None:
                hashes[number] = _hash(place, is_probe)
            advance(1)
    return hashes.view(np.int32).reshape(-1, 2)


def _hash(place: ClipPlace, is_probe: bool) -> int:
    start, duration = place.start, place.duration
    if is_probe and duration > PROBE:
        start, duration = start + (duration - PROBE) / 2, PROBE
    try:
        audio = decode.read(open_source(place.path), start, duration, name=place.path)
    except (AudioError, OSError):
        return UNREAD
    if max(place.channels) >= len(audio.wave):
        return UNREAD
    wave = audio.wave[0] if len(audio.wave) == 1 else audio.wave[list(place.channels)].mean(axis=0)
    samples = np.rint(np.clip(wave * FULL_SCALE, -FULL_SCALE, FULL_SCALE - 1)).astype("<i2")
    # Silence of the same length is equal everywhere and says nothing. A silent probe does not make a clip silent.
    if not is_probe and not samples.any():
        return UNREAD
    digest = hashlib.blake2b(samples.tobytes(), digest_size=BYTES, salt=audio.rate.to_bytes(8, "little"))
    return int.from_bytes(digest.digest(), "little", signed=True) or 1
