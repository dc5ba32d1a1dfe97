"""Prompts of a benchmark and of its controls, each distinct one once, in packs of similar length.

A control often puts a question that is already there: all silences of a length under the same tags are one prompt, and
the audio of another clip under the same tags is the prompt of that clip. Such questions share one answer, which is why
controls cost little.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from lhotse.cut import Cut
from lhotse.utils import fastcopy

from audio_lm.common.audio_units import frames_in
from audio_lm.common.errors import RecipeError
from audio_lm.common.packed_batch import PackedBatch
from audio_lm.config.schema import Recipe
from audio_lm.data.collate import Collator
from audio_lm.data.example import Example
from audio_lm.data.examples import with_example
from audio_lm.data.manifest.cuts import load_waves
from audio_lm.data.manifest.labels import labels_of
from audio_lm.evaluation.config import ROTATED, SILENCE, SWAPPED, BenchmarkConfig
from audio_lm.evaluation.controls import derangement, rotated_labels
from audio_lm.evaluation.predict import EvalExample
from audio_lm.pipeline.benchmark_data import (
    PROMPT_PACK_TOKENS,
    QuestionMaker,
    audio_state,
    benchmark_questions,
    subset_of,
)
from audio_lm.pipeline.closed_answers import AllowedAnswers, ClosedSet, choices_in
from audio_lm.prompts.vocabulary import Vocabulary

MAX_PACK_PROMPTS = 64
"""Prompts of a pack: what a kill loses at most, on every rank."""

MAIN = ""
"""Name of the questions as they are, beside those of the controls."""


@dataclass(frozen=True)
class Job:
    """A prompt to answer."""

    key: str
    cut: Cut
    """The audio, with the example of the prompt."""

    is_silent: bool = False
    choices: tuple[str, ...] | None = None
    """Lines of the choices in the question, of a closed benchmark."""

    @property
    def example(self) -> Example:
        """The encoded prompt."""
        example: Example = self.cut.custom["example"]
        return example


@dataclass
class BenchmarkJobs:
    """Questions of a benchmark and its controls, and the prompts that answer them."""

    recipe: Recipe
    benchmark: BenchmarkConfig
    vocabulary: Vocabulary
    num_questions: int | None = None
    """Size of a fixed subset of the questions; None for all."""

    jobs: dict[str, Job] = field(default_factory=dict)
    questions: dict[str, list[tuple[str, EvalExample]]] = field(default_factory=dict)
    """``MAIN`` or control -> key of the job and question, in the order of the cut-set."""

    _known: dict[object, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the questions.

        Raises:
            UserError: the benchmark cannot be evaluated; see ``check_benchmarks``.
        """
        self.maker = QuestionMaker(self.recipe, self.benchmark, self.vocabulary)
        self.cuts = benchmark_questions(self.recipe, self.benchmark)
        if self.num_questions is not None:
            self.cuts = subset_of(self.cuts, self.num_questions)
        self.questions[MAIN] = [self._main(cuts) for cuts in self.cuts]
        for control in self.benchmark.controls:
            self.questions[control] = [*_MAKERS[control](self)]

    @property
    def num_seconds(self) -> float:
        """Seconds of audio in all jobs."""
        return sum(sum(job.example.num_samples) for job in self.jobs.values()) / 16_000

    @cached_property
    def packs(self) -> list[list[str]]:
        """Keys of the jobs of each pack; jobs of similar length together."""
        ordered = sorted(self.jobs.values(), key=lambda job: len(job.example))  # stable
        packs, pack = list[list[str]](), list[str]()
        for job in ordered:
            # Prompts are padded to the longest of the pack, which is the last.
            if pack and (
                len(pack) == MAX_PACK_PROMPTS or (len(pack) + 1) * len(job.example) > PROMPT_PACK_TOKENS
            ):
                packs.append(pack)
                pack = []
            pack.append(job.key)
        return [*packs, pack] if pack else packs

    def collate(self, keys: Sequence[str]) -> PackedBatch:
        """Load the audio of a pack."""
        silent = {id(job.cut) for key in keys if (job := self.jobs[key]).is_silent}

        def load(cut: Cut, /) -> list[np.ndarray]:
            if id(cut) not in silent:
                return load_waves(cut)
            example: Example = cut.custom["example"]
            return [np.zeros(count, dtype=np.float32) for count in example.num_samples]

        collator = Collator(num_mels=self.recipe.model.encoder.sizes.num_mels, load=load)
        return collator([self.jobs[key].cut for key in keys])

    def allowed(self, key: str) -> AllowedAnswers:
        """Allowed answers to a prompt of a closed benchmark: the choices of its question, or those of the benchmark."""
        return self._allowed.of(self.jobs[key].choices)

    @cached_property
    def _allowed(self) -> ClosedSet:
        return ClosedSet(self.recipe, self.benchmark, self.vocabulary, [cuts[0] for cuts in self.cuts])

    def data_digest(self) -> str:
        """Digest of prompts, audio files and references."""
        digest = hashlib.sha256()
        for control, questions in self.questions.items():
            for key, example in questions:
                job = self.jobs[key]
                facts = [control, key, job.example.token_ids, job.example.num_samples, example.references]
                digest.update(json.dumps(facts).encode())
        for state in audio_state([job.cut for job in self.jobs.values()]):
            digest.update(json.dumps(state).encode())
        return digest.hexdigest()[:16]

    def _main(self, cuts: Sequence[Cut]) -> tuple[str, EvalExample]:
        return self._add(cuts[0].id, cuts[0], cuts[0]), self.maker.question(cuts)

    def _add(self, key: str, cut: Cut, audio: Cut, *, is_silent: bool = False) -> str:
        """Add the job of a question, unless the same prompt is there; returns its key.

        Args:
            audio: whose clips the question is put about.
        """
        example = self.maker.example(cut, audio)
        source = tuple(map(frames_in, example.num_samples)) if is_silent else audio.id
        # Text-only cuts have no audio, but different texts may stand in for it.
        fingerprint = (tuple(example.token_ids), source, is_silent)
        known = self._known.setdefault(fingerprint, key)
        if known == key:
            choices = choices_in(labels_of(cut)) if self.benchmark.closed else None
            self.jobs[key] = Job(key, with_example(audio, example), is_silent, choices)
        return known

    def _silent(self) -> Iterator[tuple[str, EvalExample]]:
        for cuts, (_, question) in zip(self.cuts, self.questions[MAIN], strict=True):
            yield self._add(f"{SILENCE}/{cuts[0].id}", cuts[0], cuts[0], is_silent=True), question

    def _swapped(self) -> Iterator[tuple[str, EvalExample]]:
        groups = [len(self.jobs[key].example.num_samples) for key, _ in self.questions[MAIN]]
        for index, partner in enumerate(derangement(groups, self.recipe.seed)):
            if partner is not None and groups[index]:
                cut, audio = self.cuts[index][0], self.cuts[partner][0]
                key = self._add(f"{SWAPPED}/{cut.id}", cut, audio)
                yield key, self.questions[MAIN][index][1]

    def _rotated(self) -> Iterator[tuple[str, EvalExample]]:
        for cuts in self.cuts:
            rotated = [changed for cut in cuts if (changed := _with_rotated_choices(cut)) is not None]
            if len(rotated) == len(cuts):
                key = self._add(f"{ROTATED}/{cuts[0].id}", rotated[0], cuts[0])
                yield key, self.maker.question(rotated)


def _with_rotated_choices(cut: Cut) -> Cut | None:
    if len(cut.supervisions) != 1 or (changed := rotated_labels(labels_of(cut))) is None:
        return None
    (supervision,) = cut.supervisions
    copied = fastcopy(supervision, custom={**(supervision.custom or {}), **changed})
    return fastcopy(cut, supervisions=[copied])


_MAKERS = {
    SILENCE: BenchmarkJobs._silent,
    SWAPPED: BenchmarkJobs._swapped,
    ROTATED: BenchmarkJobs._rotated,
}


def check_controls(jobs: BenchmarkJobs) -> None:
    """Check that every control has questions.

    Raises:
        RecipeError: one has none.
    """
    needs = {
        SILENCE: "clips",
        SWAPPED: "two clips or more",
        ROTATED: "choices in lines such as 'A. dog' in its questions",
    }
    for control in jobs.benchmark.controls:
        if not jobs.questions[control]:
            raise RecipeError(
                f"control {control!r} needs {needs[control]}, which {jobs.benchmark.source} lacks; remove it"
            )
