"""Token lengths of all rows of a source, without making their examples.

A length follows from the labels of a row and the durations of its clips, so no
audio is opened and no cut is built. Texts go to the tokenizer many at a time,
and a question that mentions nothing but languages is counted once for each.
Lengths are exactly those of ``ExampleMaker.example``.
"""

import fcntl
import os
import signal
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from lhotse.cut import Cut

from audio_lm.common.errors import DataError, UserError
from audio_lm.common.languages import LANGUAGE_LABELS
from audio_lm.common.runtime import num_cores
from audio_lm.data.examples import ExampleMaker
from audio_lm.data.manifest.cuts import num_samples_of
from audio_lm.data.manifest.lhotse_cut import CutFacts
from audio_lm.data.progress import progress
from audio_lm.fault_tolerance.processes import init_data_worker
from audio_lm.prompts.conversation import Clip
from audio_lm.prompts.encode import length_inputs, num_clip_tokens
from audio_lm.prompts.token_counts import TokenCounter
from audio_lm.tasks.task import Labels

if TYPE_CHECKING:
    from audio_lm.data.manifest.lazy_cuts import Rows

Table = np.ndarray[Any, np.dtype[np.int32]]
ROWS_AT_ONCE = 200
CHUNKS_AT_ONCE = 10  # that a process is given
MIN_ROWS = 20_000
"""Of a process, and of a source whose progress is shown: fewer take a second."""

MAX_PROCESSES = 16


def token_lengths(rows: "Rows", maker: ExampleMaker, task: str, *, num_processes: int | None = None) -> Table:
    """Tokens of every row under every paraphrase of a task, (N, choices).

    Args:
        num_processes: that share the rows; by default as many as there are free cores, if each has enough to do.

    Raises:
        DataError: a cut lacks a label that its task needs, or is heard in pieces that have no label.
        UserError: a process was killed.
    """
    counter = _RowCounter(rows, maker, task)
    if num_processes is None:
        num_processes = min(num_cores(), len(rows) // MIN_ROWS, MAX_PROCESSES)
    table = np.empty((len(rows), len(counter.choices)), dtype=np.int32)
    starts = range(0, len(rows), ROWS_AT_ONCE)
    chunks = [range(start, min(start + ROWS_AT_ONCE, len(rows))) for start in starts]
    title = f"token lengths of {rows.index.source} under {task}"
    show = progress(title, total=len(rows), what="rows") if len(rows) >= MIN_ROWS else nullcontext(_unseen)
    with show as advance, closing(_in_processes(counter, chunks, num_processes)) as tables:
        for some, lengths in zip(chunks, tables, strict=True):
            table[some.start : some.stop] = lengths
            advance(len(some))
    return table


@contextmanager
def one_process_in(folder: Path) -> Iterator[None]:
    """Let one process of this machine work in a folder at a time.

    Ranks on a machine with a disk of its own all come at once; the first measures, the others find it done. A file
    system without locks lets them all in, which is slower and not wrong.
    """
    with ExitStack() as stack:
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def _unseen(count: int) -> None:
    """Progress of what takes a second."""


def _in_processes(
    counter: "_RowCounter", chunks: Sequence[range], num_processes: int
) -> Generator[Table, None, None]:
    """The lengths of chunks of rows, in order."""
    if num_processes < 2:
        yield from map(counter.lengths, chunks)
        return
    # Started as torch starts data workers; under fork, none of them uses a thread pool of its parent.
    executor = ProcessPoolExecutor(num_processes, initializer=_begin, initargs=(counter,))
    try:
        yield from executor.map(_lengths_in_worker, chunks, chunksize=CHUNKS_AT_ONCE)
    except BrokenProcessPool as error:
        raise UserError(
            f"one of {num_processes} processes that measured {counter.rows.index.source!r} was killed, most often "
            f"because memory ran out; free some, or start this command on fewer cores (taskset -c 0)"
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)


_counter_of_worker: list["_RowCounter"] = []


def _begin(counter: "_RowCounter") -> None:
    init_data_worker(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends them
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _counter_of_worker.append(counter)


def _lengths_in_worker(some: range) -> Table:
    return _counter_of_worker[-1].lengths(some)


class _Questions(NamedTuple):
    """The questions of a row under every paraphrase."""

    num_known: list[int]
    clips: list[Clip]
    words: list[list[str]]
    """Not counted yet; empty where the questions were counted before."""


class _RowCounter:
    """Counts the tokens of rows."""

    def __init__(self, rows: "Rows", maker: ExampleMaker, task: str) -> None:
        self.rows = rows
        self.maker = maker
        self.task = task
        self.choices = range(maker.num_choices(task))
        self.counter = TokenCounter(maker.vocabulary.tokenizer)
        self._questions_in: dict[tuple[Any, ...], _Questions] = {}

    def lengths(self, some: range) -> Table:
        """Tokens of rows under every paraphrase."""
        try:
            self._check_pieces(some)
            return self._counted(some)
        except Exception:  # whatever is wrong with a row, its example says it, and names the cut
            return np.array([self._of_examples(row) for row in some], dtype=np.int32)

    def _check_pieces(self, some: Sequence[int]) -> None:
        """Refuse pieces of clips that have no label."""
        if self.maker.holds_for_pieces(self.task):
            return
        for row in some:
            if self.rows.start(row):
                raise DataError(
                    f"cut {self.rows.cut(row).id!r}: nobody knows what task {self.task!r} would answer for a piece of a "
                    f"clip; set long_audio to drop or truncate, or cut the clip where its words are known"
                )

    def _of_examples(self, row: int) -> list[int]:
        self._check_pieces([row])
        cut = self.rows.cut(row)
        return [len(self.maker.example(cut, self.task, choice=choice)) for choice in self.choices]

    def _counted(self, some: range) -> Table:
        # Step by step for all rows: row by row, the code of all steps does not fit into a core's first cache.
        maker, task = self.maker, self.task
        cuts = [self.rows.facts(row) for row in some]
        labels = [maker.labels(cut, task) for cut in cuts]
        questions = [self._questions(one) for one in labels]
        answers = [maker.answer(one, task) for one in labels]
        parts = [length_inputs(pieces, maker.vocabulary) for pieces in answers]
        in_clips = list(map(self._num_in_clips, cuts, labels, questions))
        texts = [text for one in questions for words in one.words for text in words]
        texts += [text for one in parts for text in one.words]
        num_of = dict(zip(texts, self.counter.count(texts), strict=True))
        lengths = []
        for asked, answer, num_known in zip(questions, parts, in_clips, strict=True):
            rest = num_known + answer.num_markup + sum(map(num_of.__getitem__, answer.words))
            more = [sum(map(num_of.__getitem__, words)) for words in asked.words] or repeat(0)
            lengths.append(
                [known + number + rest for known, number in zip(asked.num_known, more, strict=False)]
            )
        return np.array(lengths, dtype=np.int32)

    def _num_in_clips(self, cut: Cut | CutFacts, labels: Labels, questions: _Questions) -> int:
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
        noted = _NotedLabels(labels)
        pieces = [self.maker.question(noted, self.task, choice) for choice in self.choices]
        parts = [length_inputs(question, self.maker.vocabulary) for question in pieces]
        num_known, clips = [question.num_markup for question in parts], parts[0].clips
        assert all(question.clips == clips for question in parts), "paraphrases differ in words only"
        words = [question.words for question in parts]
        if not noted.read.issubset(LANGUAGE_LABELS):
            return _Questions(num_known, clips, words)
        num_known = [
            known + sum(self.counter.count(texts)) for known, texts in zip(num_known, words, strict=True)
        ]
        return self._questions_in.setdefault(languages, _Questions(num_known, clips, []))


class _NotedLabels(Mapping[str, Any]):
    """Labels that note which of them are read."""

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
