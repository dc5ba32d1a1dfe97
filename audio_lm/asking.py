"""What a model is asked: the clips of benchmarks as prompts, and examples for people to read and hear."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from lhotse.cut import Cut

from audio_lm.build import build_vocabulary, usable_source
from audio_lm.data.collate import Collator
from audio_lm.data.cuts import check_files, load_waves
from audio_lm.data.datamodule import packs_of
from audio_lm.data.examples import with_example
from audio_lm.data.labels import labels_of
from audio_lm.errors import DataError
from audio_lm.evaluation.config import BenchmarkConfig
from audio_lm.evaluation.predict import Asked, Prediction
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.slots import slots_of
from audio_lm.model.spectrogram import LogMel
from audio_lm.pack import Pack
from audio_lm.planning import compile_stage, maker_of
from audio_lm.prompts.conversation import Clip
from audio_lm.prompts.vocabulary import Vocabulary
from audio_lm.recipe import Recipe
from audio_lm.rendering import RenderedExample, rendered
from audio_lm.tasks.registry import TASKS
from audio_lm.tasks.task import UNKNOWN_LANGUAGE
from audio_lm.tracking.listening import HeardClip
from audio_lm.units import frames_in

PROMPT_PACK_TOKENS = 8192  # ours: budget of a pack of prompts when answers are generated


def check_benchmarks(recipe: Recipe) -> None:
    """Refuse benchmarks whose cut-set is not there, before anything is trained.

    Raises:
        DataError: names the benchmark.
    """
    for name, benchmark in recipe.evaluation.benchmarks.items():
        try:
            check_files(benchmark_cuts(recipe, benchmark))
        except DataError as error:
            raise DataError(f"benchmark {name!r}: {error}") from error


def benchmark_cuts(recipe: Recipe, benchmark: BenchmarkConfig) -> list[Cut]:
    """The clips of a benchmark, checked."""
    return usable_source(recipe, benchmark.source, "error")[: benchmark.max_clips]


def benchmark_packs(
    recipe: Recipe, benchmark: BenchmarkConfig, vocabulary: Vocabulary
) -> Iterator[tuple[Pack, list[Asked]]]:
    """The questions of a benchmark, answers left out."""
    maker = maker_of(recipe, vocabulary, benchmark.prompt, is_evaluation=True, with_answer=False)
    cuts = benchmark_cuts(recipe, benchmark)
    asking = [with_example(cut, maker.example(cut, benchmark.task)) for cut in cuts]
    collate = Collator(num_mels=recipe.model.encoder.num_mels)
    for pack in packs_of(asking, max_tokens=PROMPT_PACK_TOKENS):
        asked = [
            Asked(
                cut_id=cut.id,
                task=benchmark.task,
                reference=maker.reference(cut, benchmark.task),
                language=_language(cut, benchmark.task),
            )
            for cut in pack
        ]
        yield collate(pack), asked


def _language(cut: Cut, task: str) -> str:
    """Of the reference: a translation is in the language translated into."""
    labels = labels_of(cut)
    if task in TASKS and "target_language" in TASKS[task].needs:
        return str(labels["target_language"])
    return str(labels.get("language", UNKNOWN_LANGUAGE))


def heard_clips(
    recipe: Recipe, name: str, predictions: Sequence[Prediction], model: AudioLM, vocabulary: Vocabulary
) -> list[HeardClip]:
    """The first clips of a benchmark with what was answered, to be listened to."""
    benchmark = recipe.evaluation.benchmarks[name]
    maker = maker_of(recipe, vocabulary, benchmark.prompt, is_evaluation=True, with_answer=False)
    cuts = benchmark_cuts(recipe, benchmark)[: recipe.tracking.num_listening_clips]
    clips = []
    for cut, prediction in zip(cuts, predictions, strict=False):
        wave = (load_waves(cut) or [np.zeros(0, dtype=np.float32)])[0]
        pieces = maker.pieces(cut, benchmark.task, 0)
        clips.append(
            HeardClip(
                cut_id=cut.id,
                task=benchmark.task,
                wave=wave,
                log_mel=_log_mel(recipe, wave),
                question="".join(piece.text for piece in pieces if not isinstance(piece, Clip)),
                reference=prediction.reference,
                answer=prediction.answer,
                stage=benchmark.stage,
            )
        )
    return clips


def _log_mel(recipe: Recipe, wave: np.ndarray) -> np.ndarray:
    """(F, M) of a clip, as a log-mel encoder sees it; empty for a text-only row."""
    if not len(wave):
        return np.zeros((0, 0), dtype=np.float32)
    rows = LogMel(recipe.model.encoder.num_mels)(torch.from_numpy(wave), slots_of((len(wave),)))
    return rows[1 : 1 + frames_in(len(wave))].numpy()


def rendered_examples(recipe: Recipe, *, num_per_task: int = 2) -> Iterator[RenderedExample]:
    """A few examples of each task of each stage, as they will be trained on."""
    sources = {name: compile_stage(recipe, stage) for name, stage in recipe.stages.items()}
    vocabulary = build_vocabulary(recipe, sources)
    for name, stage in recipe.stages.items():
        maker = maker_of(recipe, vocabulary, stage.prompt)
        for task in dict.fromkeys(leaf.task for leaf in sources[name].training):
            rows = next(leaf.rows for leaf in sources[name].training if leaf.task == task)
            for row in range(min(num_per_task, len(rows))):
                yield rendered(name, rows.cut(row), task, maker, choice=row)
