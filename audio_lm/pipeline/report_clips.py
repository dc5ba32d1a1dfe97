"""Clips of a benchmark for the audio report: waveform, spectrogram, question, reference and answer."""

from collections.abc import Sequence

import numpy as np
import torch

from audio_lm.common.audio_units import frames_in
from audio_lm.config.schema import Recipe
from audio_lm.data.manifest.cuts import load_waves
from audio_lm.evaluation.predict import Prediction
from audio_lm.model.encoders.log_mel import LogMel
from audio_lm.model.encoders.packed_layout import packed_layout
from audio_lm.pipeline.benchmark_data import benchmark_cuts, benchmark_maker
from audio_lm.prompts.conversation import Clip
from audio_lm.prompts.vocabulary import Vocabulary
from audio_lm.tracking.report.audio_report import ReportClip


def report_clips(
    recipe: Recipe, name: str, predictions: Sequence[Prediction], vocabulary: Vocabulary
) -> list[ReportClip]:
    """The first clips of a benchmark with their predictions."""
    benchmark = recipe.evaluation.benchmarks[name]
    maker = benchmark_maker(recipe, benchmark, vocabulary)
    cuts = benchmark_cuts(recipe, benchmark)[: recipe.tracking.num_listening_clips]
    clips = []
    for cut, prediction in zip(cuts, predictions, strict=False):
        wave = (load_waves(cut) or [np.zeros(0, dtype=np.float32)])[0]
        pieces = maker.pieces(cut, benchmark.task, 0)
        clips.append(
            ReportClip(
                cut_id=cut.id,
                task=benchmark.task,
                wave=wave,
                log_mel=log_mel_of(recipe, wave),
                question="".join(piece.text for piece in pieces if not isinstance(piece, Clip)),
                reference=prediction.reference,
                answer=prediction.answer,
                stage=benchmark.stage,
            )
        )
    return clips


def log_mel_of(recipe: Recipe, wave: np.ndarray) -> np.ndarray:
    """Log-mel spectrogram (F, M) of a clip; empty for a text-only row."""
    if not len(wave):
        return np.zeros((0, 0), dtype=np.float32)
    rows = LogMel(recipe.model.encoder.sizes.num_mels)(torch.from_numpy(wave), packed_layout((len(wave),)))
    return rows[1 : 1 + frames_in(len(wave))].numpy()
