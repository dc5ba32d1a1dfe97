"""What is told of a step: the figures the project is held to, and all that a reader has to know beside a ratio."""

import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import torch
import transformers
from transformers import WhisperFeatureExtractor

from audio_lm.bench.clips import LONGEST, SHORTEST, even_seconds
from audio_lm.bench.step import SMALL, Bench, StepFigures, bench_step
from audio_lm.common.audio_units import SAMPLES_PER_SECOND
from audio_lm.common.rng import random_for
from audio_lm.model.encoders.log_mel import LogMel
from audio_lm.model.encoders.packed_layout import packed_layout

VOCABULARIES = 32_000, 152_000


@dataclass(frozen=True)
class StepTable:
    """What ``audio-lm bench step`` says."""

    ratios: dict[str, float]
    cases: dict[str, StepFigures]
    log_mel: dict[str, float]
    machine: dict[str, str]


def bench_steps(base: Bench, *, report: Callable[[str], None]) -> StepTable:
    """The figures the project is held to: two stages, two vocabularies, log-mel.

    Args:
        report: is told of each case when it has been measured.
    """
    cases = {}
    for num_ids in VOCABULARIES:
        for stage in ("encoder", "llm"):
            figures = bench_step(replace(base, stage=stage, num_ids=num_ids))
            cases[f"{stage}_trained_{num_ids // 1000}k"] = figures
            for line in lines_of(figures):
                report(line)
    log_mel = bench_log_mel()
    first = VOCABULARIES[0]
    ratios = {name: figures.ratio for name, figures in cases.items()}
    for stage in ("encoder", "llm"):
        ratios[f"saved_bytes_{stage}_trained"] = cases[f"{stage}_trained_{first // 1000}k"].saved_ratio
    return StepTable(ratios | {"log_mel": log_mel["ratio"]}, cases, log_mel, machine())


def machine() -> dict[str, str]:
    """What the figures were measured with."""
    device = (
        torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else platform.processor() or platform.machine()
    )
    return {
        "device": device,
        "threads": str(torch.get_num_threads()),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "date": date.today().isoformat(),
    }


def lines_of(figures: StepFigures) -> list[str]:
    """What a reader has to know about a ratio, beside it."""
    sizes = ", ".join(f"{part} {count / 1e6:.1f} M" for part, count in figures.parameters.items())
    return [
        f"stage {figures.stage}, vocabulary {figures.num_ids}: {figures.ratio:.2f} x (ours {figures.ours_s:.3f} s, "
        f"Hugging Face {figures.theirs_s:.3f} s a step)",
        f"  clips: {figures.clips_per_step} a step, mean {figures.mean_clip_s:.1f} s, lognormal between {SHORTEST:g} and "
        f"{LONGEST:g} s; Hugging Face takes {figures.peer_batch} at once and pads each to 30 s",
        f"  model: {sizes}",
        f"  saved for backward: {figures.ours_saved_bytes / 2**20:.0f} MiB of {figures.theirs_saved_bytes / 2**20:.0f} "
        f"({figures.saved_ratio:.2f} x); peak {figures.ours_peak_bytes / 2**20:.0f} MiB of "
        f"{figures.theirs_peak_bytes / 2**20:.0f} ({figures.peak_ratio:.2f} x), "
        f"planned {figures.planned_peak_bytes / 2**20:.0f}",
        f"  {figures.audio_s_per_s:.0f} audio-s/s, useful {figures.useful_flops_per_s / 1e9:.0f} GFLOP/s, "
        f"{100 * figures.useful_mfu:.0f} % of a large matrix product here",
        f"  same computation: losses differ by {figures.loss_difference:.0e}, "
        f"gradients by {figures.gradient_difference:.0e}",
    ]


def bench_log_mel(*, batches: int = 4, rounds: int = 5, clips: int = 16) -> dict[str, float]:
    """Log-mel of sorted clips, ours and that of Hugging Face's processor: milliseconds a clip, and their ratio."""
    extractor, ours = (
        WhisperFeatureExtractor(feature_size=SMALL.encoder.sizes.num_mels),
        LogMel(SMALL.encoder.sizes.num_mels),
    )
    lengths = np.sort(even_seconds(batches * clips, "log-mel")).reshape(batches, clips)
    rng = random_for("bench", "log-mel")
    waves = [
        [rng.normal(0, 0.1, int(s * SAMPLES_PER_SECOND)).astype(np.float32) for s in row] for row in lengths
    ]
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(rounds + 1):
        began = time.process_time()
        for row in waves:
            ours(torch.from_numpy(np.concatenate(row)), packed_layout([len(wave) for wave in row]))
        between = time.process_time()
        for row in waves:
            extractor(row, sampling_rate=SAMPLES_PER_SECOND, return_tensors="pt")
        seconds["ours"].append(between - began)
        seconds["theirs"].append(time.process_time() - between)
    of_a_clip = {name: statistics.median(all_[1:]) / lengths.size * 1e3 for name, all_ in seconds.items()}
    return {
        "ours_ms": of_a_clip["ours"],
        "theirs_ms": of_a_clip["theirs"],
        "ratio": of_a_clip["theirs"] / of_a_clip["ours"],
    }
