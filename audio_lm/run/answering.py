"""Answering a benchmark: packs over ranks, answers kept pack by pack, questions of the controls with the rest."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import torch

from audio_lm.common.env import is_main, rank, world_size
from audio_lm.common.errors import DataError
from audio_lm.common.progress import progress
from audio_lm.config.schema import Recipe
from audio_lm.evaluation.answer_log import Answer, AnswerLog, partial_files
from audio_lm.evaluation.config import BenchmarkConfig
from audio_lm.evaluation.definitions import Definition
from audio_lm.evaluation.predict import (
    EvalExample,
    Prediction,
    prediction_of,
    predictions_path,
    read_predictions,
)
from audio_lm.evaluation.stamp import Stamp, code_digest, digest_of
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.decoder.closed import score_answers
from audio_lm.model.decoder.generate import GenerationOptions, generate
from audio_lm.pipeline.benchmark_jobs import MAIN, BenchmarkJobs
from audio_lm.prompts.stamp_order import IncreasingStamps
from audio_lm.prompts.vocabulary import Vocabulary
from audio_lm.run.process_groups import MAX_WAIT, ProcessGroups

SCORING = ("metrics", "stage", "source")
"""Settings of a benchmark that do not change an answer, or that the stamp has elsewhere."""


class PackNumbers(Protocol):
    """Function that passes on the numbers of packs, and stops where the run stops."""

    def __call__(self, numbers: Iterable[int], /) -> Iterable[int]: ...


class Wait(Protocol):
    """Function that waits for all ranks."""

    def __call__(self) -> object: ...


@dataclass(frozen=True)
class Answered:
    """Answers to a benchmark and its controls."""

    predictions: dict[str, list[Prediction]]
    """``MAIN`` or control -> predictions, in the order of the cut-set."""

    stamp: Stamp
    speed: float | None
    """Seconds of audio answered per second, by this rank; None if nothing was left to answer."""


@contextmanager
def evaluation_ranks(recipe: Recipe) -> Iterator[ProcessGroups]:
    """Context of the ranks of an evaluation, one of which may work for hours longer than another."""
    with ProcessGroups(recipe.hardware.accelerator, MAX_WAIT.total_seconds()) as groups:
        yield groups
        groups.wait()


def stamp_of(model: AudioLM, model_digest: str, jobs: BenchmarkJobs) -> Stamp:
    """Stamp of the answers to a benchmark.

    Args:
        model_digest: of the weights.
    """
    settings = {name: value for name, value in asdict(jobs.benchmark).items() if name not in SCORING}
    parameter = next(model.parameters())
    device = parameter.device.type
    computed = [str(parameter.dtype), device, torch.is_autocast_enabled(device)]
    return Stamp(
        model=digest_of([model_digest, jobs.vocabulary.digest]),
        data=jobs.data_digest(),
        decoding=digest_of([settings, computed]),
        code=code_digest(),
    )


def answer_benchmark(
    model: AudioLM,
    jobs: BenchmarkJobs,
    stamp: Stamp,
    *,
    log: AnswerLog | None = None,
    limit: PackNumbers = iter,
    wait: Wait = nullcontext,
) -> Answered:
    """Answer all questions of a benchmark and of its controls.

    Args:
        log: where answers are kept; the ranks then divide the packs. None answers all packs on every rank.
        limit: passes on the packs until the run stops.
        wait: for all ranks, before the answers of all are read and after it.
    """
    started, seconds = time.perf_counter(), 0.0
    own = _own_packs(len(jobs.packs), is_divided=log is not None)
    with log if log is not None else nullcontext():
        answers = {} if log is None else log.answered()
        left = [number for number in own if number not in answers]
        total = sum(len(jobs.packs[number]) for number in left)
        with progress(f"answering {jobs.benchmark.source}", total=total, what="questions") as advance:
            for number in limit(left):
                keys = jobs.packs[number]
                answers[number] = answer_pack(model, jobs, keys)
                seconds += sum(sum(jobs.jobs[key].example.num_samples) for key in keys) / 16_000
                if log is not None:
                    log.append(number, answers[number])
                advance(len(keys))
        elapsed = time.perf_counter() - started
        wait()
        if log is not None and world_size() > 1:
            answers = log.answered()
            wait()  # until all have read: the first rank then deletes the files
    answer_of = {key: answer for pack in answers.values() for key, answer in pack.items()}
    predictions = {
        control: predictions_of(questions, answer_of, stamp.digest)
        for control, questions in jobs.questions.items()
    }
    return Answered(predictions, stamp, seconds / elapsed if seconds else None)


def predictions_of(
    questions: Sequence[tuple[str, EvalExample]], answer_of: Mapping[str, Answer], stamp: str | None = None
) -> list[Prediction]:
    """Predictions in the order of the questions.

    Args:
        questions: key of the job of each, see ``BenchmarkJobs``.
        answer_of: answer to each job.
    """
    return [
        prediction_of(question, answer_of[key].text, answer_of[key].logprobs, stamp)
        for key, question in questions
    ]


def _own_packs(num_packs: int, *, is_divided: bool) -> range:
    """Packs of this rank; a pack's rank does not depend on what has been answered."""
    return range(rank(), num_packs, world_size()) if is_divided else range(num_packs)


def answer_pack(model: AudioLM, jobs: BenchmarkJobs, keys: Sequence[str]) -> dict[str, Answer]:
    """Answers to the prompts of a pack by their keys."""
    pack, vocabulary = jobs.collate(keys), jobs.vocabulary
    if jobs.benchmark.closed:
        allowed = [jobs.allowed(key) for key in keys]
        found = score_answers(model, pack, [answers.tree for answers in allowed])
        return {
            key: Answer(answers.texts[closed.best], dict(zip(answers.texts, closed.logprobs, strict=True)))
            for key, answers, closed in zip(keys, allowed, found, strict=True)
        }
    options = GenerationOptions(
        end_ids_of(vocabulary),
        jobs.benchmark.max_new_tokens,
        constraint=IncreasingStamps(vocabulary) if jobs.benchmark.ordered_stamps else None,
    )
    generated = generate(model, pack, options)
    return {
        key: Answer(vocabulary.text(answer.token_ids)) for key, (answer,) in zip(keys, generated, strict=True)
    }


def end_ids_of(vocabulary: Vocabulary) -> set[int]:
    """Tokens that end an answer."""
    return {vocabulary.end_id, vocabulary.turn_end_id}


def kept_answers(
    folder: Path, name: str, benchmark: BenchmarkConfig, stamp: Stamp, definition: Definition | None
) -> dict[str, list[Prediction]] | None:
    """Whole answers of an earlier evaluation with the same stamp; None if there are none.

    Raises:
        DataError: whole answers of another stamp are there; names the file.
    """
    paths = {control: predictions_path(folder / control, name) for control in (MAIN, *benchmark.controls)}
    if definition is None or not definition.stamp or not paths[MAIN].is_file():
        return None  # of an earlier release, or never finished
    if other := stamp.differences(definition.stamp):
        raise DataError(
            f"{paths[MAIN]} holds answers that were given by or to {' and '.join(other)} -- expected the stamp "
            f"{stamp.digest} -- evaluate with --again to replace them, or under another name"
        )
    try:
        found = {control: read_predictions(path) for control, path in paths.items()}
    except DataError:
        return None
    is_whole = all(one.stamp == stamp.digest for predictions in found.values() for one in predictions)
    return found if is_whole else None


def remove_partial(folder: Path, name: str) -> None:
    """Delete the answers of an evaluation of a benchmark that has not ended; on the first rank."""
    if is_main():
        for path in partial_files(folder, name):
            path.unlink()


def remove_control(folder: Path, name: str, control: str, scores: Mapping[str, float]) -> dict[str, float]:
    """Delete the answers of a control that a benchmark no longer has; returns the scores without it."""
    predictions_path(folder / control, name).unlink(missing_ok=True)
    return {key: value for key, value in scores.items() if not key.startswith(f"{control}/{name}/")}
