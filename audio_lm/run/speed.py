"""Speeds of a model on this machine, measured without a change to what is trained.

A stage is timed by its own first steps: data, forward and backward pass, optimizer. Trained weights, buffers and random
states are restored afterwards, bit for bit; the optimizer is discarded. Answers are timed on one pack of prompts.
"""

import random
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from audio_lm.common.audio_units import Seconds
from audio_lm.common.protocols import Condition
from audio_lm.config.schema import Recipe
from audio_lm.data.collate import Collator
from audio_lm.data.datamodule import packs_of
from audio_lm.data.examples import with_example
from audio_lm.data.mixture.schedule import Cursor
from audio_lm.evaluation.config import BenchmarkConfig
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.decoder.generate import greedy_decode
from audio_lm.pipeline.benchmark_data import PROMPT_PACK_TOKENS, benchmark_questions
from audio_lm.pipeline.data import build_data
from audio_lm.pipeline.plan_stage import StagePlan, maker_of
from audio_lm.pipeline.trainer import answer_format, build_module, build_trainer
from audio_lm.prompts.vocabulary import Vocabulary
from audio_lm.run.prepare import Prepared
from audio_lm.run.reference import time_of_reference
from audio_lm.training.callbacks.step_clock import StepClock

SKIPPED, COUNTED = 2, 6  # steps: the first ones start data workers and allocate memory
MOST_COUNTED = 48  # steps that take milliseconds
MAX_SHARE = 1 / 20  # of a stage's steps that is counted, except that COUNTED always are
MAX_SECONDS: Seconds = 20.0  # for the steps of a stage, after which fewer are counted
MIN_STEPS = 60  # of a stage that is measured; a shorter one takes about as long as its measurement
MAX_PROMPTS = 128  # of a benchmark whose lengths are counted
NEW_TOKENS = 5  # timed tokens of each answer
NEVER_VALIDATED = 10**9


@dataclass(frozen=True)
class StageSpeed:
    """Times of a stage."""

    step: Seconds
    validation: Seconds
    """Of one validation; 0 without one."""

    copy: Seconds
    """Of the copy of a checkpoint, for which training waits."""

    reference: Seconds = 0.0
    """Of the log-probabilities of all pairs under the reference."""

    setup: Seconds = 0.0
    """From the start of the trainer to the first step."""


@dataclass(frozen=True)
class AnswerSpeed:
    """Times of generation."""

    prompt_token: Seconds
    """Of each token of a prompt, audio decoded and features computed."""

    new_token: Seconds
    """Of each generated token."""


@dataclass(frozen=True)
class BenchmarkSize:
    """Amount of work of a benchmark."""

    num_questions: int
    prompt_tokens: float
    """Mean of a prompt."""

    new_tokens: float
    """Mean of an answer, by its reference."""

    def seconds(self, speed: AnswerSpeed, *, new_tokens: float | None = None) -> Seconds:
        """Time of its answers.

        Args:
            new_tokens: of an answer, instead of those of the reference.
        """
        answer = (self.new_tokens if new_tokens is None else new_tokens) * speed.new_token
        return self.num_questions * (self.prompt_tokens * speed.prompt_token + answer)


def is_measurable(recipe: Recipe) -> bool:
    """True if a measurement is cheap: a sharded model is built again for each stage, and a compiled one is slow at first."""
    return recipe.hardware.sharding == "none" and not recipe.hardware.compile


def measure_stage(
    recipe: Recipe,
    name: str,
    prepared: Prepared,
    start: tuple[StagePlan, Cursor],
    folder: Path,
    is_stopping: Condition = lambda: False,
) -> StageSpeed | None:
    """Time the next steps of a stage; None if a stop signal arrived. A collective.

    Args:
        start: data order, and the position that the stage starts at.
        folder: working folder of the trainer, which writes nothing.
    """
    planned, cursor = start
    model, stage = prepared.model, recipe.stages[name]
    most = max(COUNTED, min(MOST_COUNTED, int(MAX_SHARE * (stage.steps - cursor.step))))
    clock = StepClock(skip=SKIPPED, enough=COUNTED, most=most, seconds=MAX_SECONDS, is_stopping=is_stopping)
    short = replace(stage, steps=SKIPPED + most, validate_every=NEVER_VALIDATED)
    data = build_data(recipe, name, planned, prepared.sources[name], prepared.vocabulary, cursor=cursor)
    trainer = build_trainer(recipe, short, folder, loggers=[], callbacks=[clock])
    trainer.limit_val_batches = 2  # of each task
    rates, hardware = prepared.rates[name], recipe.hardware
    trained = [key for key, rate in rates.items() if rate is not None]
    with unchanged(model, trained) as copy, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # training gives the same warnings again
        module = build_module(
            stage,
            model,
            rates,
            seed=recipe.seed,
            is_half=hardware.is_half,
            answers=answer_format(stage, prepared.vocabulary),
        )
        reference = 0.0
        if stage.dpo_loss is not None and not cursor.step:
            reference = time_of_reference(model, recipe, name, data)
        began = time.monotonic()
        trainer.fit(module, datamodule=data)
    if clock.step is None:
        return None
    num_packs = sum(len(loader) for loader in data.val_dataloader()) if clock.validation else 0
    return StageSpeed(
        clock.step,
        num_packs * (clock.validation or 0.0),
        3 * copy,  # AdamW has two moments
        reference,
        (clock.reached or began) - began,
    )


@contextmanager
def unchanged(model: AudioLM, trained: list[str]) -> Iterator[Seconds]:
    """Context after which weights, buffers, modes and random states are those before; gives the time of the copy.

    Args:
        trained: names of the parameters that may change inside.
    """
    before = time.monotonic()
    changing = {**dict(model.named_buffers()), **{name: model.get_parameter(name) for name in trained}}
    saved = {name: value.detach().clone() for name, value in changing.items()}
    copy = time.monotonic() - before
    modes = {module: module.training for module in model.modules()}
    needs_grad = {parameter: parameter.requires_grad for parameter in model.parameters()}
    numpy_state, python_state = np.random.get_state(), random.getstate()
    try:
        with torch.random.fork_rng([torch.cuda.current_device()] if torch.cuda.is_available() else []):
            yield copy
    finally:
        with torch.no_grad():
            for name, value in saved.items():
                changing[name].copy_(value)
        for parameter, needed in needs_grad.items():
            parameter.grad = None
            parameter.requires_grad_(needed)
        for module, mode in modes.items():
            module.training = mode
        np.random.set_state(numpy_state)
        random.setstate(python_state)


def size_of_benchmark(recipe: Recipe, benchmark: BenchmarkConfig, vocabulary: Vocabulary) -> BenchmarkSize:
    """Measure the prompts and references of a benchmark, or of its first questions if it has many."""
    maker = maker_of(recipe, vocabulary, benchmark.prompt, is_evaluation=True, with_answer=False)
    questions = benchmark_questions(recipe, benchmark)
    some = [cuts[0] for cuts in questions[:MAX_PROMPTS]]
    prompts = [len(maker.example(cut, benchmark.task)) for cut in some]
    answers = [
        min(
            benchmark.max_new_tokens,
            1 + len(vocabulary.ids(maker.reference(cut, benchmark.task), is_markup=True)),
        )
        for cut in some
    ]
    return BenchmarkSize(len(questions), sum(prompts) / len(some), sum(answers) / len(some))


def measure_answers(
    recipe: Recipe, benchmark: BenchmarkConfig, model: AudioLM, vocabulary: Vocabulary
) -> AnswerSpeed:
    """Time the answers to the first prompts of a benchmark."""
    maker = maker_of(recipe, vocabulary, benchmark.prompt, is_evaluation=True, with_answer=False)
    collate = Collator(num_mels=recipe.model.encoder.sizes.num_mels)
    some = [cuts[0] for cuts in benchmark_questions(recipe, benchmark)[:MAX_PROMPTS]]
    cuts = [with_example(cut, maker.example(cut, benchmark.task)) for cut in some]
    first = next(packs_of(cuts, max_tokens=PROMPT_PACK_TOKENS))
    greedy_decode(model, collate(first[:1]), end_ids=(), max_new_tokens=2)  # loads what the first call needs
    times = [time.monotonic()]
    pack = collate(first)
    for num_tokens in (1, 1 + NEW_TOKENS):
        greedy_decode(model, pack, end_ids=(), max_new_tokens=num_tokens)
        times.append(time.monotonic())
    prompt, more = times[1] - times[0], times[2] - times[1]
    decode = max(0.0, more - prompt) / (NEW_TOKENS * len(first))
    return AnswerSpeed(prompt / pack.token_ids.numel(), decode)
