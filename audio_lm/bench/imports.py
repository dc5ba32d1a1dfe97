"""Measure the import of a table: time of a row, of the same import repeated, and of compressed audio.

Files are tiny, so the time of a row is that of everything but reading long files.
"""

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from audio_lm.common.audio_units import SAMPLES_PER_SECOND, Seconds
from audio_lm.corpora.imports.common import ImportOptions
from audio_lm.corpora.imports.importing import import_file
from audio_lm.data.audio import decode

NUM_ROWS = 10_000
NUM_COMPRESSED = 2_000
NUM_DIFFERENT = 20  # clips; files are copies of them
CLIP_SECONDS: Seconds = 1.0
COMPRESSED_SECONDS: Seconds = 10.0


@dataclass(frozen=True)
class ImportFigures:
    """Figures of ``audio-lm bench import``."""

    wav_ms_per_row: float
    """Milliseconds to import a row of a CSV with a WAV file of one second."""

    flac_ms_per_row: float
    """The same with FLAC."""

    repeated_share: float
    """Time to import the WAV rows again, with the measured lengths in the cache, over that of the first time."""

    compressed_share: float
    """Time to import Ogg files of ten seconds, over the time to decode them in one process, divided by the cores."""


def bench_import(*, num_rows: int = NUM_ROWS, num_compressed: int = NUM_COMPRESSED) -> ImportFigures:
    """Measure all figures.

    Raises:
        UserError: the package that decodes Ogg is not installed.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wav, flac = (_write_files(folder / kind, kind, num_rows, CLIP_SECONDS) for kind in ("wav", "flac"))
        ogg = _write_files(folder / "ogg", "ogg", num_compressed, COMPRESSED_SECONDS)
        first, repeated = _import(wav), _import(wav)
        decoding = _decode(ogg) / _num_cores()
        return ImportFigures(
            wav_ms_per_row=1000 * first / num_rows,
            flac_ms_per_row=1000 * _import(flac) / num_rows,
            repeated_share=repeated / first,
            compressed_share=_import(ogg) / decoding,
        )


def _write_files(folder: Path, kind: str, count: int, seconds: Seconds) -> Path:
    """Write audio files and their table; returns the folder."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    contents = []
    for number in range(NUM_DIFFERENT):
        wave = rng.normal(0, 0.1, round((0.5 + number / NUM_DIFFERENT) * seconds * SAMPLES_PER_SECOND))
        soundfile.write(folder / f"clip.{kind}", wave, SAMPLES_PER_SECOND)
        contents.append((folder / f"clip.{kind}").read_bytes())
    (folder / f"clip.{kind}").unlink()
    lines = ["file_name,text,language\n"]
    for number in range(count):
        (folder / f"{number}.{kind}").write_bytes(contents[number % NUM_DIFFERENT])
        lines.append(f"{number}.{kind},clip {number},en\n")
    (folder / "metadata.csv").write_text("".join(lines))
    return folder


def _import(folder: Path) -> Seconds:
    """Seconds to import a folder."""
    started = time.perf_counter()
    import_file(
        "table", folder, folder, "bench", "all-train", ImportOptions(), lambda line: None, overwrite=True
    )
    return time.perf_counter() - started


def _decode(folder: Path) -> Seconds:
    """CPU seconds to decode all files of a folder in this process, which only one copy of each clip is read for."""
    paths: Sequence[Path] = sorted(folder.glob("*.ogg"))
    some = [folder / f"{number}.ogg" for number in range(NUM_DIFFERENT)]
    decode.measure(str(some[0]), with_powers=True)  # loads the decoder
    started = time.process_time()
    for path in some:
        decode.measure(str(path), with_powers=True)
    return (time.process_time() - started) / len(some) * len(paths)


def _num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
