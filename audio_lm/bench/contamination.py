"""Measure the search for contamination with planted copies: time, and whether it finds them all and nothing else.

All clips have the same length, the worst case: none is excluded by its length.
"""

import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from audio_lm.common.audio_units import SAMPLES_PER_SECOND, Seconds
from audio_lm.data.cache import CACHE
from audio_lm.data.contamination.find import ComparedSet, Matches, find_matches
from audio_lm.data.manifest.index import IndexRules, compile_source
from audio_lm.data.manifest.lazy_cuts import Rows
from audio_lm.tasks.registry import TASKS

NUM_ROWS = 100_000  # of benchmark and training together
TEST_SHARE, PLANTED_SHARE = 0.1, 0.01
CLIP_SECONDS: Seconds = 0.25
NUM_WORDS, TEXT_WORDS = 5000, (4, 25)
TRAINING, TEST = "made/all-train", "made/all-test"


@dataclass(frozen=True)
class ContaminationFigures:
    """Figures of ``audio-lm bench contamination``."""

    rows: int
    planted: int
    """Clips of the benchmark whose audio or text is also in training."""

    found: int
    """Planted clips that were found."""

    false_alarms: int
    """Other clips that were found."""

    index_seconds: Seconds
    """Compilation of both cut-sets, which ``plan`` and ``train`` do anyway."""

    first_seconds: Seconds
    """The search without a cache."""

    second_seconds: Seconds
    """The search again, with the hashes in the cache."""


def bench_contamination(*, num_rows: int = NUM_ROWS) -> ContaminationFigures:
    """Measure all figures with one process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        num_tests = round(num_rows * TEST_SHARE)
        planted = write_sets(folder, num_rows - num_tests, num_tests)
        start = time.monotonic()
        tests, training = ([_compared(folder, source)] for source in (TEST, TRAINING))
        times = [time.monotonic() - start]
        for _ in range(2):
            start = time.monotonic()
            matches = find_matches(tests, training, tasks=TASKS, cache=folder / CACHE)
            times.append(time.monotonic() - start)
        found = rows_found(matches)
        return ContaminationFigures(
            num_rows, len(planted), len(found & planted), len(found - planted), *times
        )


def rows_found(matches: Matches) -> set[int]:
    """Rows of the benchmark with equal audio or text."""
    return {
        row for _, row in (*(each.test for each in matches.audio), *(each.test for each in matches.texts))
    }


def write_sets(folder: Path, num_training: int, num_tests: int) -> set[int]:
    """Write both cut-sets with their audio; returns the rows of the benchmark that are planted.

    A third of the planted clips are copies of a training file, a third have the text of one, and a third a part of it.
    """
    rng = np.random.default_rng(0)
    texts = [_text(rng) for _ in range(num_training)]
    _write(folder, TRAINING, texts, rng)
    long = [row for row, text in enumerate(texts) if len(text.split()) >= TEXT_WORDS[1] - 5]
    own = [_text(rng) for _ in range(num_tests)]
    planted = rng.permutation(num_tests)[: max(3, round(num_tests * PLANTED_SHARE))].tolist()
    copies: dict[int, int] = {}
    for number, row in enumerate(planted):
        training = int(rng.choice(long))
        if number % 3 == 0:
            copies[row] = training
        elif number % 3 == 1:
            own[row] = texts[training].upper() + "."
        else:
            own[row] = " ".join([*own[row].split()[:4], *texts[training].split()[2:18]])
    _write(folder, TEST, own, rng)
    for row, training in copies.items():
        _path(folder, TEST, row).write_bytes(_path(folder, TRAINING, training).read_bytes())
    return set(planted)


def _text(rng: np.random.Generator) -> str:
    return " ".join(f"w{word}" for word in rng.integers(NUM_WORDS, size=rng.integers(*TEXT_WORDS)))


def _path(folder: Path, source: str, row: int) -> Path:
    return folder / f"{source}-audio" / str(row // 1000) / f"{row}.wav"


def _write(folder: Path, source: str, texts: Sequence[str], rng: np.random.Generator) -> None:
    manifest = folder / f"{source}.jsonl"
    manifest.parent.mkdir(exist_ok=True)
    num_samples = round(CLIP_SECONDS * SAMPLES_PER_SECOND)
    with manifest.open("w") as lines:
        for row, text in enumerate(texts):
            path = _path(folder, source, row)
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = rng.integers(-3000, 3000, size=num_samples, dtype=np.int16)
            soundfile.write(path, noise, SAMPLES_PER_SECOND)
            lines.write(json.dumps(_cut(path, f"{source}-{row}", text, num_samples)) + "\n")


def _cut(path: Path, name: str, text: str, num_samples: int) -> dict[str, object]:
    seconds = num_samples / SAMPLES_PER_SECOND
    speech = {"id": name, "recording_id": name, "start": 0.0, "duration": seconds, "channel": 0}
    return {
        "id": name,
        "start": 0.0,
        "duration": seconds,
        "channel": 0,
        "type": "MonoCut",
        "supervisions": [speech | {"text": text, "language": "en", "speaker": name}],
        "recording": {
            "id": name,
            "sources": [{"type": "file", "channels": [0], "source": str(path)}],
            "sampling_rate": SAMPLES_PER_SECOND,
            "num_samples": num_samples,
            "duration": seconds,
            "channel_ids": [0],
        },
    }


def _compared(folder: Path, source: str) -> ComparedSet:
    index = compile_source(folder / f"{source}.jsonl", source, IndexRules(), cache=folder / CACHE)
    return ComparedSet(source, ("asr",), Rows(index))
