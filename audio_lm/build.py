"""From a recipe to things: corpora, vocabulary, model, data, module, trainer.

The only place where configurations become objects; everything below takes
plain arguments.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lhotse.cut import Cut
from lightning import Callback, Trainer, seed_everything
from lightning.pytorch.loggers import Logger

from audio_lm.corpora.corpus import prepare
from audio_lm.data.collate import Collator
from audio_lm.data.config import MixtureConfig
from audio_lm.data.cuts import check_files, load_waves, manifest_path, read_cuts, texts_of, usable_cuts
from audio_lm.data.datamodule import MixtureDataModule, Steps, packs_of
from audio_lm.data.examples import CHAT, Example, ExampleMaker
from audio_lm.data.mixture import Mixture, with_example
from audio_lm.errors import DataError, RecipeError
from audio_lm.evaluation.config import BenchmarkConfig
from audio_lm.evaluation.predict import Asked, Prediction
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.factory import build_model
from audio_lm.model.language_model import num_rows
from audio_lm.model.slots import slots_of
from audio_lm.pack import Pack
from audio_lm.prompts.conversation import Clip
from audio_lm.prompts.tokenizer import load_tokenizer, train_tokenizer
from audio_lm.prompts.vocabulary import Vocabulary
from audio_lm.recipe import Recipe, StageConfig
from audio_lm.runtime import world_size
from audio_lm.tasks.registry import find_task
from audio_lm.tracking.listening import HeardClip
from audio_lm.tracking.provenance import Manifest, digest_of
from audio_lm.training.config import HardwareConfig
from audio_lm.training.module import NextTokenModule
from audio_lm.training.parts import Rate, learning_rates
from audio_lm.training.schedules import rate_factor
from audio_lm.units import frames_in

Report = Callable[[str], None]
TAG = re.compile(r"<\|[^|<>{}]*\|>")
PROMPT_PACK_TOKENS = 8192  # ours: budget of a pack of prompts when answers are generated


@dataclass(frozen=True)
class StageCuts:
    """The checked cuts of a stage, by task."""

    training: Mapping[str, list[Cut]]
    validation: Mapping[str, list[Cut]]


def prepare_corpora(recipe: Recipe, report: Report) -> None:
    """Make the corpora a recipe names, where they are not there yet."""
    for name, settings in recipe.corpora.items():
        prepare(name, Path(recipe.data_dir), settings, report)


def cuts_of(recipe: Recipe, stage: StageConfig) -> StageCuts:
    """Everything a stage hears, every cut checked.

    Raises:
        DataError: a cut-set, a cut or an audio file is not what it has to be.
    """
    validation = {
        task: cuts[: stage.max_validation_clips]
        for task, cuts in _cuts_by_task(recipe, stage, stage.validation)
    }
    return StageCuts(training=dict(_cuts_by_task(recipe, stage, stage.mixture)), validation=validation)


def _cuts_by_task(
    recipe: Recipe, stage: StageConfig, mixture: MixtureConfig
) -> Iterator[tuple[str, list[Cut]]]:
    for task, sources in mixture.sources.items():
        if mixture.weights[task] > 0:
            cuts = [cut for source in sources for cut in _usable(recipe, source, stage.long_clips)]
            check_files(cuts)
            yield task, cuts


def _usable(recipe: Recipe, source: str, long_clips: Any) -> list[Cut]:
    return usable_cuts(read_cuts(Path(recipe.data_dir), source), source=source, long_clips=long_clips)


def build_vocabulary(
    recipe: Recipe, cuts_of_stage: Mapping[str, StageCuts], folder: Path | None = None
) -> Vocabulary:
    """The vocabulary of a run: loaded, or trained on the texts of its training cuts.

    Args:
        folder: where an earlier start of the same run kept its tokenizer.
    """
    settings = recipe.model.tokenizer
    if folder is not None and folder.is_dir():
        tokenizer = load_tokenizer(str(folder))
    elif settings.load is not None:
        tokenizer = load_tokenizer(settings.load)
    else:
        cuts = (
            cut for stage in cuts_of_stage.values() for of_task in stage.training.values() for cut in of_task
        )
        texts = sorted({text for text in texts_of(list(cuts)) if not text.startswith("<|")})
        prompts = sorted({text for name in _tasks(recipe) for text in find_task(name).prompts})
        tokenizer = train_tokenizer(
            [*texts, *(f" {text}" for text in texts), *prompts], vocab_size=settings.vocab_size
        )
    return Vocabulary(tokenizer, num_base=_num_base(recipe, len(tokenizer)))


def _tasks(recipe: Recipe) -> set[str]:
    return {task for stage in recipe.stages.values() for task in stage.mixture.weights} - {CHAT}


def _num_base(recipe: Recipe, num_tokens: int) -> int:
    loaded = recipe.model.language_model.load
    if loaded is None:
        return num_tokens
    return num_rows(loaded)


def check_tags(recipe: Recipe, vocabulary: Vocabulary) -> None:
    """Refuse a stage in tags whose tags are not single tokens.

    Raises:
        RecipeError: names the stage, the task and the tags.
    """
    for name, stage in recipe.stages.items():
        for task in stage.mixture.weights if stage.prompt == "tags" else ():
            if task == CHAT:
                raise RecipeError(f"stage {name!r}: {CHAT!r} is asked in chatml only; set prompt: chatml")
            try:
                vocabulary.check(*TAG.findall(find_task(task).tags))
            except RecipeError as error:
                raise RecipeError(f"stage {name!r}: {error}") from error


def build_audio_lm(recipe: Recipe, vocabulary: Vocabulary) -> AudioLM:
    """The model with its first weights; equal seeds give equal weights."""
    seed_everything(recipe.seed, verbose=False)
    return build_model(recipe.model, num_base=vocabulary.num_base, num_new=len(vocabulary.new_tokens))


def rates_of(recipe: Recipe, model: AudioLM) -> dict[str, dict[str, Rate | None]]:
    """The rate of every parameter in every stage.

    Raises:
        RecipeError: a stage's parts do not fit the model; names the stage.
    """
    rates = {}
    for name, stage in recipe.stages.items():
        try:
            rates[name] = learning_rates([name for name, _ in model.named_parameters()], stage.parts)
        except RecipeError as error:
            raise RecipeError(f"stage {name!r}: {error}") from error
    return rates


def build_data(
    recipe: Recipe, stage_name: str, cuts: StageCuts, vocabulary: Vocabulary, *, first_step: int = 0
) -> MixtureDataModule:
    """The packs of a stage, beginning at a step."""
    stage = recipe.stages[stage_name]
    maker = ExampleMaker(vocabulary, stage.prompt, recipe.seed)
    num_packs = stage.accumulate * world_size()
    if stage.global_batch is not None and stage.global_batch % num_packs:
        raise RecipeError(
            f"stage {stage_name!r}: a global batch of {stage.global_batch} conversations cannot be cut into "
            f"{num_packs} packs (accumulate x ranks); choose a multiple of {num_packs}"
        )
    steps = Steps(
        Mixture(cuts.training, stage.mixture.weights, maker=maker, seed=recipe.seed),
        max_tokens=stage.pack_tokens,
        max_conversations=None if stage.global_batch is None else stage.global_batch // num_packs,
        accumulate=stage.accumulate,
        first_step=first_step,
    )
    return MixtureDataModule(
        steps,
        Collator(policy=stage.spec_augment, num_mels=recipe.model.encoder.num_mels, seed=recipe.seed),
        validation=cuts.validation,
        validation_maker=ExampleMaker(vocabulary, stage.prompt, recipe.seed, is_evaluation=True),
        num_workers=recipe.hardware.num_workers,
    )


def build_module(
    stage: StageConfig, model: AudioLM, rates: Mapping[str, Rate | None], cuts: StageCuts
) -> NextTokenModule:
    """Who learns what and how fast."""
    peak = max((rate.lr for rate in rates.values() if rate is not None), default=0.0)
    schedule = stage.schedule
    factor = partial(
        rate_factor,
        kind=schedule.kind,
        steps=stage.steps,
        warmup_steps=schedule.warmup_steps,
        floor=schedule.min_lr / peak if peak else 0.0,
    )
    return NextTokenModule(
        model, rate_of=rates, factor=factor, **asdict(stage.optimizer), validation_tasks=list(cuts.validation)
    )


def build_trainer(
    recipe: Recipe, stage: StageConfig, folder: Path, *, logger: Logger | bool, callbacks: Sequence[Callback]
) -> Trainer:
    """Lightning's trainer for one stage."""
    hardware = recipe.hardware
    if hardware.num_threads is not None:
        torch.set_num_threads(hardware.num_threads)
    return Trainer(
        accelerator=hardware.accelerator,
        devices=hardware.devices,
        num_nodes=hardware.nodes,
        precision=_precision(hardware),
        max_steps=stage.steps,
        max_epochs=-1,
        val_check_interval=stage.validate_every or None,
        check_val_every_n_epoch=None,
        limit_val_batches=None if stage.validate_every else 0,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        logger=logger,
        callbacks=list(callbacks),
        default_root_dir=folder,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        barebones=False,
    )


def _precision(hardware: HardwareConfig) -> Any:
    return "bf16-mixed" if hardware.precision == "bf16" else "32-true"


def benchmark_cuts(recipe: Recipe, benchmark: BenchmarkConfig) -> list[Cut]:
    """The clips of a benchmark, checked."""
    return _usable(recipe, benchmark.source, "error")[: benchmark.max_clips]


def benchmark_packs(
    recipe: Recipe, benchmark: BenchmarkConfig, vocabulary: Vocabulary
) -> Iterator[tuple[Pack, list[Asked]]]:
    """The questions of a benchmark, answers left out."""
    maker = ExampleMaker(vocabulary, benchmark.prompt, recipe.seed, is_evaluation=True, with_answer=False)
    asking = [with_example(cut, maker, benchmark.task, 0) for cut in benchmark_cuts(recipe, benchmark)]
    collate = Collator(num_mels=recipe.model.encoder.num_mels)
    for pack in packs_of(asking, max_tokens=PROMPT_PACK_TOKENS):
        asked = [
            Asked(
                cut_id=cut.id,
                task=benchmark.task,
                reference=maker.reference(cut, benchmark.task),
                language=cut.supervisions[0].language or "unknown",
            )
            for cut in pack
        ]
        yield collate(list(pack)), asked


@dataclass(frozen=True)
class RenderedExample:
    """What the model reads of one cut, for people."""

    stage: str
    task: str
    cut_id: str
    pieces: list[tuple[str, bool]]
    """Text and whether it is learned; a clip is written ``[clip 1: 1.24 s]``."""

    num_tokens: int
    num_audio_tokens: int


def rendered_examples(recipe: Recipe, *, num_per_task: int = 2) -> Iterator[RenderedExample]:
    """A few examples of each task of each stage, as they will be trained on."""
    cuts = {name: cuts_of(recipe, stage) for name, stage in recipe.stages.items()}
    vocabulary = build_vocabulary(recipe, cuts)
    for name, stage in recipe.stages.items():
        maker = ExampleMaker(vocabulary, stage.prompt, recipe.seed)
        for task, of_task in cuts[name].training.items():
            for position, cut in enumerate(islice(of_task, num_per_task)):
                example = maker.example(cut, task, position)
                yield _rendered(name, cut, example, maker)


def _rendered(stage: str, cut: Cut, example: Example, maker: ExampleMaker) -> RenderedExample:
    shown = []
    for piece in maker.pieces(cut, example.task, example.position):
        if isinstance(piece, Clip):
            has_sound = piece.number <= len(example.num_samples)
            shown.append(
                (
                    f"[clip {piece.number}: {cut.duration:.2f} s]"
                    if has_sound
                    else "[words in audio places]",
                    False,
                )
            )
        else:
            shown.append((piece.text, piece.is_learned))
    return RenderedExample(
        stage=stage,
        task=example.task,
        cut_id=cut.id,
        pieces=shown,
        num_tokens=len(example),
        num_audio_tokens=len(example.audio_index),
    )


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


def manifests_of(recipe: Recipe) -> list[Manifest]:
    """Every cut-set a run reads, with its digest."""
    contexts: dict[str, str] = {}
    for stage in recipe.stages.values():
        contexts |= {source: "train" for sources in stage.mixture.sources.values() for source in sources}
        contexts |= {
            source: "validation" for sources in stage.validation.sources.values() for source in sources
        }
    contexts |= {benchmark.source: "test" for benchmark in recipe.evaluation.benchmarks.values()}
    manifests = []
    for source, context in contexts.items():
        path = manifest_path(Path(recipe.data_dir), source)
        cuts = read_cuts(Path(recipe.data_dir), source)
        hours = sum(cut.duration for cut in cuts if cut.has_recording) / 3600
        manifests.append(
            Manifest(
                name=source,
                path=path,
                digest=digest_of(path),
                hours=hours,
                num_cuts=len(cuts),
                context=context,
            )
        )
    return manifests


def heard_clips(
    recipe: Recipe, name: str, predictions: Sequence[Prediction], model: AudioLM, vocabulary: Vocabulary
) -> list[HeardClip]:
    """The first clips of a benchmark with what was answered, to be listened to."""
    benchmark = recipe.evaluation.benchmarks[name]
    maker = ExampleMaker(vocabulary, benchmark.prompt, recipe.seed, is_evaluation=True, with_answer=False)
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
                log_mel=_log_mel(model, wave),
                question="".join(piece.text for piece in pieces if not isinstance(piece, Clip)),
                reference=prediction.reference,
                answer=prediction.answer,
                stage=benchmark.stage,
            )
        )
    return clips


def _log_mel(model: AudioLM, wave: np.ndarray) -> np.ndarray:
    """(F, M) as the encoder sees a clip; empty for a text-only row."""
    if not len(wave):
        return np.zeros((0, 0), dtype=np.float32)
    device = next(model.parameters()).device
    rows = model.encoder.log_mel(torch.from_numpy(wave).to(device), slots_of((len(wave),)))
    return rows[1 : 1 + frames_in(len(wave))].cpu().numpy()
