"""Measure the data loader: length measurement, schedule, audio, fill of packs, resume time and manifest memory.

All times are of one process with one thread. Audio is timed from FLAC to packed log-mel.
"""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from audio_lm.bench.clips import LONGEST, WORDS, cut_line, random_seconds, write_audio, write_manifest
from audio_lm.common.audio_units import SAMPLES_PER_SECOND, TOKENS_PER_SECOND
from audio_lm.common.rng import random_for
from audio_lm.data.audio.faults import load_waves_or_fault
from audio_lm.data.collate import Collator
from audio_lm.data.datamodule import PackDataset
from audio_lm.data.examples import ExampleMaker
from audio_lm.data.lengths import TokenLengths, cached_token_lengths, token_lengths
from audio_lm.data.manifest.index import IndexRules, compile_source
from audio_lm.data.manifest.lazy_cuts import LoadedSource, Rows
from audio_lm.data.mixture.interleave import integer_shares
from audio_lm.data.mixture.packing import PackingRules
from audio_lm.data.mixture.schedule import Cursor, PackSchedule, Segment
from audio_lm.model.encoders.log_mel import LogMel
from audio_lm.model.encoders.packed_layout import packed_layout
from audio_lm.prompts.tokenizer import train_tokenizer
from audio_lm.prompts.vocabulary import Vocabulary

NUM_SOURCES = 31
BUDGET = PackingRules(packs=8, max_tokens=8192)
FAR_POSITION = 10**12
NUM_CLIPS = 400
FEW_ROWS, MANY_ROWS = 10_000, 1_000_000
MEASURED_ROWS, ROUNDS = 100_000, 3
SOURCE = "bench/clips-train"


@dataclass(frozen=True)
class LoaderFigures:
    """Figures of ``audio-lm bench loader``."""

    schedule_cuts_per_s: float
    """Clips scheduled per second from 31 sources: order, paraphrase, length and pack."""

    audio_s_per_cpu_s: float
    """Seconds of audio per CPU second, from FLAC to packed log-mel."""

    fill: float
    """Fraction of the token budget that conversations use."""

    resume_s: float
    """Seconds to the first step when resuming at position 10^12."""

    rss_growth: float
    """Relative growth of peak memory from a manifest of 10^4 lines to one of 10^6."""

    us_per_row_measured: float
    """Microseconds to count the tokens of a row under one paraphrase; median of three runs over 100 000 rows."""


def bench_loader() -> LoaderFigures:
    """Measure all figures."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rate, fill = _time_schedule()
        return LoaderFigures(
            schedule_cuts_per_s=rate,
            audio_s_per_cpu_s=_time_audio(Path(folder)),
            fill=fill,
            resume_s=_time_resume(),
            rss_growth=_memory_growth(Path(folder)),
            us_per_row_measured=_time_measurement(Path(folder)),
        )


def _plan(*, window_steps: int = 64) -> PackSchedule:
    """Plan with 31 sources of random weights."""
    rng = random_for("bench", "plan")
    lengths, sizes = [], []
    for number in range(NUM_SOURCES):
        seconds = random_seconds(20_000, "lengths", number)
        text = rng.integers(38, 88, len(seconds))
        lengths.append(TokenLengths((seconds * TOKENS_PER_SECOND + text).astype(np.int32)[:, None]))
        sizes.append(len(seconds))
    weights = rng.uniform(0.05, 5.0, NUM_SOURCES).round(2).tolist()
    segment = Segment(0, tuple(integer_shares(weights)), (0,) * NUM_SOURCES)
    mean = float(np.mean([source.mean for source in lengths]))
    window = round(window_steps * BUDGET.packs * BUDGET.max_tokens / mean)
    names = [f"task {number}" for number in range(NUM_SOURCES)]
    return PackSchedule(names, sizes, lengths, [segment], BUDGET, window=window, seed=0)


def _time_schedule(num_windows: int = 6) -> tuple[float, float]:
    plan = _plan()
    plan.steps_of(0)
    start = time.process_time()
    steps = [packs for window in range(1, 1 + num_windows) for packs in plan.steps_of(window)]
    rate = num_windows * plan.window / (time.process_time() - start)
    examples = [example for packs in steps for pack in packs for example in pack]
    tokens = sum(
        int(plan.lengths[example.source].of(np.array([example.row]), np.array([example.choice]))[0])
        for example in examples
    )
    return rate, tokens / (len(steps) * BUDGET.packs * BUDGET.max_tokens)


def _time_resume() -> float:
    plan = _plan()
    start = time.perf_counter()
    next(plan.steps(Cursor(step=0, window=FAR_POSITION // plan.window, place=0)))
    return time.perf_counter() - start


def _time_audio(folder: Path) -> float:
    packs, plan = clip_packs(folder, NUM_CLIPS)
    mel = LogMel(packs.collator.num_mels)
    start, num_samples = time.process_time(), 0
    for _, step in islice(plan.steps(Cursor()), 4):
        for pack in packs.step(step):
            mel(pack.waves, packed_layout(pack.num_samples))
            num_samples += sum(pack.num_samples)
    return num_samples / SAMPLES_PER_SECOND / (time.process_time() - start)


def clip_packs(folder: Path, num_clips: int) -> tuple[PackDataset, PackSchedule]:
    """Write FLAC files of random lengths; returns what reads them in packs, and the order, which has no end."""
    seconds = random_seconds(num_clips, "audio")
    manifest = write_manifest(folder / "bench" / "clips-train.jsonl", write_audio(folder / "audio", seconds))
    index = compile_source(manifest, SOURCE, IndexRules(), cache=folder / "cache")
    maker, rows = _maker(), Rows(index)
    lengths = cached_token_lengths(rows, maker, "asr", cache=folder / "cache")
    segment = Segment(0, (1,), (0,))
    plan = PackSchedule(["asr"], [len(rows)], [lengths], [segment], BUDGET, window=num_clips, seed=0)
    return PackDataset([LoadedSource("asr", SOURCE, rows)], maker, Collator(load=load_waves_or_fault)), plan


def _maker() -> ExampleMaker:
    tokenizer = train_tokenizer([" ".join(WORDS)], vocab_size=300)
    return ExampleMaker(Vocabulary(tokenizer, num_base=len(tokenizer)), "tags")


def _time_measurement(folder: Path) -> float:
    (recorded,) = write_audio(folder / "measured", np.array([LONGEST]))
    path, seconds = folder / "measured" / "00000.flac", random_seconds(MEASURED_ROWS, "measuring")
    lines = (
        cut_line(f"row-{number}", path, int(length * SAMPLES_PER_SECOND))
        | {"recording": recorded["recording"]}
        for number, length in enumerate(seconds)
    )
    manifest = write_manifest(folder / "measured" / "clips-train.jsonl", lines)
    rows = Rows(compile_source(manifest, SOURCE, IndexRules(), cache=folder / "measured"))
    maker, times = _maker(), list[float]()
    for _ in range(ROUNDS):
        start = time.process_time()
        token_lengths(rows, maker, "asr", num_processes=1)
        times.append(time.process_time() - start)
    return 1e6 * median(times) / MEASURED_ROWS


def _memory_growth(folder: Path) -> float:
    few, many = (_peak_memory(folder, count) for count in (FEW_ROWS, MANY_ROWS))
    return many / few - 1


def _peak_memory(folder: Path, num_rows: int) -> float:
    """Peak memory in KiB of a process that reads a manifest with ``print_peak_memory``."""
    manifest = write_manifest(folder / str(num_rows) / "clips-train.jsonl", _lines(folder, num_rows))
    compile_source(manifest, SOURCE, IndexRules(), cache=folder / f"cache-{num_rows}")
    np.save(folder / f"cache-{num_rows}" / "lengths.npy", np.full((num_rows, 1), 40, dtype=np.int32))
    script = (
        "from audio_lm.bench.loader import print_peak_memory; import sys; print_peak_memory(*sys.argv[1:])"
    )
    command = [sys.executable, "-c", script, str(manifest), str(folder / f"cache-{num_rows}")]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _lines(folder: Path, num_rows: int) -> Iterator[dict[str, Any]]:
    audio = folder / "audio" / "00000.flac"
    for number in range(num_rows):
        yield cut_line(f"row-{number}", audio, SAMPLES_PER_SECOND)


def print_peak_memory(manifest: str, cache: str) -> None:
    """Read the 1000 rows of one window of a plan, and print the peak memory of this process."""
    index = compile_source(Path(manifest), SOURCE, IndexRules(), cache=Path(cache))
    rows = Rows(index)
    table = np.load(Path(cache) / "lengths.npy", mmap_mode="r")
    segment, rules = Segment(0, (1,), (0,)), PackingRules(packs=1, max_tokens=4000)
    plan = PackSchedule(["asr"], [len(rows)], [TokenLengths(table)], [segment], rules, window=1000, seed=0)
    for packs in plan.steps_of(0):
        for pack in packs:
            for example in pack:
                rows.cut(example.row)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)  # noqa: T201
