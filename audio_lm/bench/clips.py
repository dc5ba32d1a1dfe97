"""Synthetic clips with the distribution of lengths for which performance figures are given.

Lengths are lognormal with median 4.4 s and sigma 0.55, clipped to 1 ... 15 s (mean 5.1 s). The number of words follows
the rate of read speech. The audio is noise.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from audio_lm.common.audio_units import SAMPLES_PER_SECOND, Seconds
from audio_lm.common.rng import random_for

MEDIAN, SIGMA, SHORTEST, LONGEST = 4.4, 0.55, 1.0, 15.0
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
WORDS_PER_SECOND = 2.5


def random_seconds(count: int, *purpose: str | int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Random lengths of ``count`` clips, in seconds."""
    seconds = random_for("bench", *purpose).lognormal(np.log(MEDIAN), SIGMA, count)
    return np.asarray(seconds.clip(SHORTEST, LONGEST))


def even_seconds(count: int, *purpose: str | int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Quantiles of the length distribution for ``count`` clips, in random order: a small but representative set."""
    normal = NormalDist(float(np.log(MEDIAN)), SIGMA)
    seconds = np.exp([normal.inv_cdf((number + 0.5) / count) for number in range(count)])
    shuffled = random_for("bench", *purpose).permutation(seconds.clip(SHORTEST, LONGEST))
    return np.asarray(shuffled)


def write_audio(folder: Path, seconds: np.ndarray[Any, np.dtype[np.float64]]) -> Iterator[dict[str, Any]]:
    """Write one FLAC file per clip and yield its cut as a line of a manifest."""
    import soundfile  # here, because the timing of a step writes no audio and works without it

    folder.mkdir(parents=True, exist_ok=True)
    for number, length in enumerate(seconds):
        rng = random_for("bench", "audio", number)
        num_samples = int(length * SAMPLES_PER_SECOND)
        path = folder / f"{number:05d}.flac"
        wave = np.convolve(rng.normal(0, 0.1, num_samples), np.ones(8) / 8, mode="same")
        soundfile.write(path, wave, SAMPLES_PER_SECOND, subtype="PCM_16")
        yield cut_line(f"clip-{number}", path, num_samples)


def cut_line(cut_id: str, path: Path, num_samples: int) -> dict[str, Any]:
    """Cut of a whole file, as in a manifest."""
    seconds: Seconds = num_samples / SAMPLES_PER_SECOND
    rng = random_for("bench", "text", cut_id)
    text = " ".join(rng.choice(WORDS, max(1, int(seconds * WORDS_PER_SECOND))))
    return {
        "id": cut_id,
        "start": 0.0,
        "duration": seconds,
        "channel": 0,
        "supervisions": [
            {
                "id": cut_id,
                "recording_id": cut_id,
                "start": 0.0,
                "duration": seconds,
                "channel": 0,
                "text": text,
                "language": "en",
            }
        ],
        "recording": {
            "id": cut_id,
            "sources": [{"type": "file", "channels": [0], "source": str(path)}],
            "sampling_rate": SAMPLES_PER_SECOND,
            "num_samples": num_samples,
            "duration": seconds,
            "channel_ids": [0],
        },
        "type": "MonoCut",
    }


def write_manifest(path: Path, lines: Iterator[dict[str, Any]]) -> Path:
    """Write cuts as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for line in lines:
            file.write(json.dumps(line) + "\n")
    return path
