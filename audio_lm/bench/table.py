"""Tables of step figures: the cases that the project reports, and the conditions of each measurement."""

import platform
import statistics
import time
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import torch
import transformers
from transformers import WhisperFeatureExtractor

from audio_lm.bench.clips import LONGEST, SHORTEST, even_seconds
from audio_lm.bench.step import SMALL, Bench, StepFigures, bench_step
from audio_lm.common.audio_units import SAMPLES_PER_SECOND
from audio_lm.common.protocols import Report
from audio_lm.common.rng import random_for
from audio_lm.model.cpu_linear import is_onednn_faster
from audio_lm.model.encoders.log_mel import LogMel
from audio_lm.model.encoders.packed_layout import packed_layout

VOCABULARIES = 32_000, 152_000


@dataclass(frozen=True)
class StepTable:
    """Result of ``audio-lm bench step``."""

    ratios: dict[str, float]
    roofline_shares: dict[str, float]
    """Shortest possible time of our step on this machine over the measured time, of each case."""

    cases: dict[str, StepFigures]
    log_mel: dict[str, float]
    machine: dict[str, str]


def bench_steps(base: Bench, *, report: Report) -> StepTable:
    """Measure the cases that the project reports: two stages with two vocabularies each, and log-mel.

    Args:
        report: called with the lines of each case after its measurement.
    """
    cases = {}
    for num_ids in VOCABULARIES:
        for stage in ("encoder", "llm"):
            figures = bench_step(replace(base, stage=stage, num_ids=num_ids))
            cases[f"{stage}_trained_{num_ids // 1000}k"] = figures
            for line in format_figures(figures):
                report(line)
    log_mel = bench_log_mel()
    first = VOCABULARIES[0]
    ratios = {name: figures.ratio for name, figures in cases.items()}
    for stage in ("encoder", "llm"):
        ratios[f"saved_bytes_{stage}_trained"] = cases[f"{stage}_trained_{first // 1000}k"].saved_ratio
    return StepTable(
        ratios=ratios | {"log_mel": log_mel["ratio"]},
        roofline_shares={name: figures.roofline_share for name, figures in cases.items()},
        cases=cases,
        log_mel=log_mel,
        machine=machine(),
    )


def machine() -> dict[str, str]:
    """Device, versions and date of a measurement."""
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
        "matrix_products": "oneDNN" if is_onednn_faster() else "torch",
        "date": date.today().isoformat(),
    }


def format_figures(figures: StepFigures) -> list[str]:
    """Format the figures of a step together with the conditions of the measurement."""
    sizes = ", ".join(f"{part} {count / 1e6:.1f} M" for part, count in figures.parameters.items())
    limits = ", ".join(f"{phase} {seconds:.3f} s" for phase, seconds in figures.roofline_s.items())
    shares = ", ".join(f"{group} {100 * share:.1f} %" for group, share in figures.time_shares.items())
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
        f"{100 * figures.useful_mfu:.0f} % of a large matrix product here ({figures.matrix_flops_per_s / 1e9:.0f} GFLOP/s)",
        f"  roofline: {100 * figures.roofline_share:.0f} %, {limits} of {figures.ours_s:.3f} s; a copy moves "
        f"{figures.copy_bytes_per_s / 1e9:.0f} GB/s",
        f"  time: {shares}",
        f"  same computation: losses differ by {figures.loss_difference:.0e}, "
        f"gradients by {figures.gradient_difference:.0e}",
    ]


def bench_log_mel(*, batches: int = 4, rounds: int = 5, clips: int = 16) -> dict[str, float]:
    """Time our log-mel and Hugging Face's feature extractor on sorted clips: milliseconds per clip, and the ratio."""
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
        start = time.process_time()
        for row in waves:
            ours(torch.from_numpy(np.concatenate(row)), packed_layout([len(wave) for wave in row]))
        middle = time.process_time()
        for row in waves:
            extractor(row, sampling_rate=SAMPLES_PER_SECOND, return_tensors="pt")
        seconds["ours"].append(middle - start)
        seconds["theirs"].append(time.process_time() - middle)
    # The first round warms up.
    ms = {name: statistics.median(times[1:]) / lengths.size * 1e3 for name, times in seconds.items()}
    return {"ours_ms": ms["ours"], "theirs_ms": ms["theirs"], "ratio": ms["theirs"] / ms["ours"]}
