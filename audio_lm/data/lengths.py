"""Token lengths of all rows of a source, counted without making examples, and cached.

A length depends only on the labels of a row and the durations of its clips, so no audio is opened and no cut is built.
Texts are tokenized in batches, and a question that depends on nothing but languages is counted once per
combination of languages. Lengths are exactly those of ``ExampleMaker.example``.
"""

import fcntl
import hashlib
import json
import os
import signal
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, closing, contextmanager, suppress
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from lhotse.cut import Cut

from audio_lm.common.cpu import num_cores
from audio_lm.common.errors import DataError, UserError
from audio_lm.common.languages import LANGUAGE_LABELS
from audio_lm.common.progress import progress
from audio_lm.data.cache import cached_table
from audio_lm.data.examples import ExampleMaker
from audio_lm.data.manifest.cuts import num_samples_of
from audio_lm.data.manifest.lazy_cuts import Rows
from audio_lm.data.manifest.lhotse_cut import CutFacts
from audio_lm.data.mixture.interleave import Integers
from audio_lm.fault_tolerance.processes import init_data_worker
from audio_lm.prompts.conversation import Clip
from audio_lm.prompts.encode import length_inputs, num_clip_tokens
from audio_lm.prompts.token_counts import TokenCounter
from audio_lm.tasks.task import Labels
from audio_lm.training.objective_config import GIVEN

Table = np.ndarray[Any, np.dtype[np.int32]]
VERSION = 2  # incremented when the same row has another number of tokens
ROWS_AT_ONCE = 200
CHUNKS_AT_ONCE = 10  # per work item of a process
MIN_ROWS = 20_000
"""Rows that justify another process, and for which progress is shown: fewer take about a second."""

MAX_PROCESSES = 16


class TokenLengths:
    """Number of tokens of every row under every paraphrase of a task."""

    def __init__(self, table: np.ndarray[Any, np.dtype[np.int32]], wording: str = "") -> None:
        """Wrap a table.

        Args:
            table: (N, choices), memory-mapped or not.
            wording: digest of the prompts of the task, see ``wording_of``.
        """
        self.table = table
        self.wording = wording
        self.num_choices = table.shape[1]

    def of(self, rows_P: Integers, choices_P: Integers) -> Integers:
        """Tokens of rows under paraphrases."""
        return np.asarray(self.table[rows_P, choices_P], dtype=np.int64)

    @property
    def mean(self) -> float:
        """Mean over rows and paraphrases, which are drawn equally often."""
        return float(self.table.mean())


def cached_token_lengths(rows: Rows, maker: ExampleMaker, task: str, *, cache: Path) -> TokenLengths:
    """Token lengths of all rows of a source under a task; counted once, then loaded from the cache.

    Args:
        cache: folder of all indexes.

    Raises:
        DataError: a cut lacks a label that its task needs, or is chunked and its chunks have no labels.
    """
    wording = wording_of(rows, maker, task)
    known = [
        VERSION,
        rows.index.digest,
        task,
        maker.prompt,
        maker.vocabulary.digest,
        maker.token_count.windows,
        *([] if maker.rule == GIVEN else [list(maker.rule)]),  # absent in tables of earlier releases
    ]

    def make() -> np.ndarray[Any, np.dtype[np.int32]]:
        return token_lengths(rows, maker, task)

    name = f"{rows.index.source}/tokens"
    with folder_lock(cache / rows.index.source):
        table = cached_table(cache, name, [*known, wording], make, num_rows=len(rows))
    return TokenLengths(table, wording)


def wording_of(rows: Rows, maker: ExampleMaker, task: str) -> str:
    """Digest of the prompts of a task: its templates, and the examples of three rows of the source."""
    state = hashlib.sha256(json.dumps(maker.templates(task)).encode())
    for row in sorted({0, len(rows) // 2, len(rows) - 1}):
        if rows.start(row) and not maker.is_valid_for_chunks(task):
            continue
        for choice in range(maker.num_choices(task)):
            example = maker.example(rows.cut(row), task, choice=choice)
            for document in example.documents:
                state.update(json.dumps([document.token_ids, document.is_learned]).encode())
    return state.hexdigest()[:16]


def token_lengths(rows: Rows, maker: ExampleMaker, task: str, *, num_processes: int | None = None) -> Table:
    """Count the tokens of every row under every paraphrase of a task, (N, choices).

    Args:
        num_processes: by default one per free core, with at least ``MIN_ROWS`` rows each.

    Raises:
        DataError: a cut lacks a label that its task needs, or is chunked and its chunks have no labels.
        UserError: a process was killed.
    """
    counter = _RowCounter(rows, maker, task)
    if num_processes is None:
        num_processes = min(num_cores(), len(rows) // MIN_ROWS, MAX_PROCESSES)
    table = np.empty((len(rows), len(counter.choices)), dtype=np.int32)
    starts = range(0, len(rows), ROWS_AT_ONCE)
    chunks = [range(start, min(start + ROWS_AT_ONCE, len(rows))) for start in starts]
    title = f"token lengths of {rows.index.source} under {task}"
    show = progress(title, total=len(rows), what="rows", min_total=MIN_ROWS)
    with show as advance, closing(_count_chunks(counter, chunks, num_processes)) as tables:
        for chunk, lengths in zip(chunks, tables, strict=True):
            table[chunk.start : chunk.stop] = lengths
            advance(len(chunk))
    return table


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Lock a folder for one process of this machine at a time.

    All ranks need the same table at the same time: the first one computes it, the others wait and load it. On a
    file system without locks all of them compute it, which is slower but correct.
    """
    with ExitStack() as stack:
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def _count_chunks(
    counter: "_RowCounter", chunks: Sequence[range], num_processes: int
) -> Generator[Table, None, None]:
    """Lengths of chunks of rows, in order."""
    if num_processes < 2:
        yield from map(counter.lengths, chunks)
        return
    # The start method is that of torch's data workers; under fork, no worker uses a thread pool of its parent.
    executor = ProcessPoolExecutor(num_processes, initializer=_init_worker, initargs=(counter,))
    try:
        yield from executor.map(_lengths_in_worker, chunks, chunksize=CHUNKS_AT_ONCE)
    except BrokenProcessPool as error:
        raise UserError(
            f"one of {num_processes} processes that counted the tokens of {counter.rows.index.source!r} was killed, most "
            f"often because memory ran out; free some, or start this command on fewer cores (taskset -c 0)"
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)


_counter_of_worker: list["_RowCounter"] = []


def _init_worker(counter: "_RowCounter") -> None:
    init_data_worker(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and stops the workers
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _counter_of_worker.append(counter)


def _lengths_in_worker(chunk: range) -> Table:
    return _counter_of_worker[-1].lengths(chunk)


class _Questions(NamedTuple):
    """Questions of a row under every paraphrase."""

    num_tokens: list[int]
    """Tokens without those of ``clips`` and ``texts``."""

    clips: list[Clip]
    texts: list[list[str]]
    """Texts that are not counted yet; empty if ``num_tokens`` includes them."""


class _RowCounter:
    """Count the tokens of rows."""

    def __init__(self, rows: Rows, maker: ExampleMaker, task: str) -> None:
        self.rows = rows
        self.maker = maker
        self.task = task
        self.choices = range(maker.num_choices(task))
        self.counter = TokenCounter(maker.vocabulary.tokenizer)
        self._questions_in: dict[tuple[Any, ...], _Questions] = {}

    def lengths(self, chunk: range) -> Table:
        """Count the tokens of rows under every paraphrase."""
        if self.maker.rule != GIVEN:  # in thousands, where others are in millions
            return np.array([self._example_lengths(row) for row in chunk], dtype=np.int32)
        try:
            self._check_chunked_clips(chunk)
            return self._count(chunk)
        except Exception:  # making the example of a bad row raises an error that names the cut
            return np.array([self._example_lengths(row) for row in chunk], dtype=np.int32)

    def _check_chunked_clips(self, rows: Sequence[int]) -> None:
        """Refuse chunks of clips that have no labels."""
        if self.maker.is_valid_for_chunks(self.task):
            return
        for row in rows:
            if self.rows.start(row):
                raise DataError(
                    f"cut {self.rows.cut(row).id!r}: task {self.task!r} has no labels for the chunks of a clip over 30 s; "
                    f"set long_audio to drop or truncate, or cut the clip where its words are known"
                )

    def _example_lengths(self, row: int) -> list[int]:
        self._check_chunked_clips([row])
        cut = self.rows.cut(row)
        return [len(self.maker.example(cut, self.task, choice=choice)) for choice in self.choices]

    def _count(self, chunk: range) -> Table:
        # One step for all rows, then the next: row by row, the code of all steps exceeds the L1 instruction cache.
        maker, task = self.maker, self.task
        cuts = [self.rows.facts(row) for row in chunk]
        all_labels = [maker.labels(cut, task) for cut in cuts]
        all_questions = [self._questions(labels) for labels in all_labels]
        answers = [length_inputs(maker.answer(labels, task), maker.vocabulary) for labels in all_labels]
        clip_tokens = list(map(self._num_clip_tokens, cuts, all_labels, all_questions))
        texts = [text for questions in all_questions for texts in questions.texts for text in texts]
        texts += [text for answer in answers for text in answer.words]
        num_of = dict(zip(texts, self.counter.count(texts), strict=True))
        lengths = []
        for questions, answer, num_in_clips in zip(all_questions, answers, clip_tokens, strict=True):
            shared = num_in_clips + answer.num_markup + sum(map(num_of.__getitem__, answer.words))
            in_texts = [sum(map(num_of.__getitem__, texts)) for texts in questions.texts] or repeat(0)
            lengths.append(
                [
                    known + number + shared
                    for known, number in zip(questions.num_tokens, in_texts, strict=False)
                ]
            )
        return np.array(lengths, dtype=np.int32)

    def _num_clip_tokens(self, cut: Cut | CutFacts, labels: Labels, questions: _Questions) -> int:
        num_tokens_of_clip = [self.maker.token_count.tokens_in(count) for count in num_samples_of(cut)]
        places = self.maker.places(labels)
        return sum(
            num_clip_tokens(clip, num_tokens_of_clip=num_tokens_of_clip, places=places)
            for clip in questions.clips
        )

    def _questions(self, labels: Labels) -> _Questions:
        languages = tuple(map(labels.get, LANGUAGE_LABELS))
        if languages in self._questions_in:
            return self._questions_in[languages]
        recorder = _LabelAccess(labels)
        pieces = [self.maker.question(recorder, self.task, choice) for choice in self.choices]
        parts = [length_inputs(question, self.maker.vocabulary) for question in pieces]
        num_tokens, clips = [question.num_markup for question in parts], parts[0].clips
        assert all(question.clips == clips for question in parts), "paraphrases differ in words only"
        texts = [question.words for question in parts]
        if not recorder.read.issubset(LANGUAGE_LABELS):
            return _Questions(num_tokens, clips, texts)
        num_tokens = [
            known + sum(self.counter.count(some)) for known, some in zip(num_tokens, texts, strict=True)
        ]
        return self._questions_in.setdefault(languages, _Questions(num_tokens, clips, []))


class _LabelAccess(Mapping[str, Any]):
    """Labels that record which of them are read."""

    def __init__(self, labels: Labels) -> None:
        self.labels = labels
        self.read = set[str]()

    def __getitem__(self, key: str) -> Any:
        self.read.add(key)
        return self.labels[key]

    def __iter__(self) -> Iterator[str]:
        self.read.update(self.labels)
        return iter(self.labels)

    def __len__(self) -> int:
        return len(self.labels)
