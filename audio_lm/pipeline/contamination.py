"""Contamination of a recipe's benchmarks by its training data, in numbers and in words, before training.

A benchmark is compared with the cut-sets of its stage and of all stages before it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from audio_lm.common.errors import DataError
from audio_lm.config.schema import Recipe
from audio_lm.data.contamination.find import ComparedSet, Matches, find_matches
from audio_lm.data.contamination.texts import MAX_ROWS
from audio_lm.data.manifest.cuts import cut_set_path, has_cut_set
from audio_lm.data.manifest.index import IndexRules, compile_source
from audio_lm.data.manifest.lazy_cuts import Rows
from audio_lm.evaluation.config import BenchmarkConfig
from audio_lm.pipeline.plan_stage import cache_of, compile_index

MAX_NAMED = 3  # clips and speakers in a sentence
ABSENT = "not prepared"
KINDS = ("equal audio", "equal reference", "overlapping reference")


@dataclass(frozen=True)
class ContaminatedClip:
    """A clip of a benchmark that is in the training data."""

    id: str
    kind: str
    """One of ``KINDS``; the first that is true."""

    training_id: str
    """A training clip with the same audio or text."""

    training_source: str


@dataclass(frozen=True)
class Contamination:
    """Overlap of a benchmark with the training data of its stage and of the stages before it."""

    benchmark: str
    source: str
    num_clips: int
    """Clips of the cut-set, ``max_clips`` not considered."""

    num_texts: int
    """Clips whose reference is long enough to be compared."""

    clips: list[ContaminatedClip]
    repeated_references: int
    """Clips whose reference is a phrase that training repeats; not contamination."""

    speakers: list[str]
    """Speakers of training clips, too."""

    num_speakers: int
    clips_of_shared_speakers: int
    num_unread: int
    """Clips that could not be compared."""

    def count(self, kind: str) -> int:
        """Number of contaminated clips of a kind."""
        return sum(clip.kind == kind for clip in self.clips)


@dataclass(frozen=True)
class ContaminationReport:
    """Contamination of all benchmarks."""

    benchmarks: list[Contamination] = field(default_factory=list)
    not_checked: dict[str, str] = field(default_factory=dict)
    """Cut-set -> the reason why it was not compared."""

    def as_table(self) -> dict[str, Any]:
        """Findings as JSON, with the ids of all contaminated clips."""
        return asdict(self)

    def lines(self) -> Iterator[str]:
        """Findings in words: one line without any, or one per finding."""
        found = [line for each in self.benchmarks for line in warnings_of(each)]
        for line in found:
            yield f"[yellow]warning:[/yellow] {line}"
        if self.benchmarks and not found:
            count = sum(each.num_clips for each in {each.source: each for each in self.benchmarks}.values())
            texts = sum(each.num_texts for each in self.benchmarks)
            yield (
                f"contamination: none found in {count:,} clips of {len(self.benchmarks)} benchmarks; "
                f"{texts:,} of their references are long enough to compare texts"
            )
        absent = [source for source, reason in self.not_checked.items() if reason == ABSENT]
        if absent:
            more = f" and {len(absent) - MAX_NAMED} more" if len(absent) > MAX_NAMED else ""
            yield f"contamination: not compared, because {ABSENT}: {', '.join(absent[:MAX_NAMED])}{more}"
        for source, reason in self.not_checked.items():
            if reason != ABSENT:
                yield f"[yellow]warning:[/yellow] {source} was not compared with the training data: {reason}"


def warnings_of(found: Contamination) -> Iterator[str]:
    """Sentences about one benchmark; none if nothing was found."""
    name = f"benchmark {found.benchmark}"
    total = f"{found.num_clips:,} clips of {found.source}"
    parts = [f"{found.count(kind):,} by {kind}" for kind in KINDS if found.count(kind)]
    if parts:
        some = ", ".join(
            f"{clip.id} = {clip.training_id} of {clip.training_source}" for clip in found.clips[:MAX_NAMED]
        )
        yield (
            f"{name}: {len(found.clips):,} of {total} are in the training data ({', '.join(parts)}), such as {some}; "
            f"remove them from one of the two -- all of them are listed with --json"
        )
    if found.repeated_references:
        yield (
            f"{name}: the references of {found.repeated_references:,} of {total} are sentences that more than {MAX_ROWS} "
            f"training clips have, so the model may have memorized them; compare with a set of other sentences"
        )
    if found.speakers:
        share = (
            f"all {found.num_speakers} speakers"
            if len(found.speakers) == found.num_speakers
            else f"{len(found.speakers)} of {found.num_speakers} speakers ({', '.join(found.speakers[:MAX_NAMED])})"
        )
        yield (
            f"{name}: {share} of {found.source}, with {found.clips_of_shared_speakers:,} of its clips, speak in training data, "
            f"so its score is not one for unseen speakers"
        )
    if found.num_unread:
        yield f"{name}: {found.num_unread:,} of {total} were not compared, because they cannot be read or are silent"


def find_contamination(recipe: Recipe) -> ContaminationReport:
    """Compare the benchmarks of a recipe with its training data; cut-sets that are not prepared are named."""
    not_checked: dict[str, str] = {}
    training, stages_of = _training_sets(recipe, not_checked)
    tests: dict[tuple[str, str], ComparedSet] = {}
    names = list(recipe.stages)
    for benchmark in recipe.evaluation.benchmarks.values():
        source, task = benchmark.source, benchmark.task
        if (source, task) not in tests and (rows := _rows_of_benchmark(recipe, source, not_checked)):
            tests[source, task] = ComparedSet(source, (task,), rows)
    if not tests or not training:
        return ContaminationReport([], not_checked)
    matches = find_matches(list(tests.values()), training, tasks=recipe.task_table, cache=cache_of(recipe))
    numbers = {key: number for number, key in enumerate(tests)}
    found = [
        _contamination(
            name,
            list(tests.values()),
            numbers[benchmark.source, benchmark.task],
            training,
            {number for number, stage in enumerate(stages_of) if stage <= _last_stage(names, benchmark)},
            matches,
        )
        for name, benchmark in recipe.evaluation.benchmarks.items()
        if (benchmark.source, benchmark.task) in numbers
    ]
    return ContaminationReport(found, not_checked)


def _last_stage(names: Sequence[str], benchmark: BenchmarkConfig) -> int:
    return names.index(benchmark.stage) if benchmark.stage in names else len(names)


def _training_sets(recipe: Recipe, not_checked: dict[str, str]) -> tuple[list[ComparedSet], list[int]]:
    """Cut-sets of all stages, and for each the number of the first stage that trains on it."""
    tasks: dict[str, list[str]] = {}
    first: dict[str, int] = {}
    for number, stage in enumerate(recipe.stages.values()):
        for task in stage.mixture.drawn_tasks:
            for source in stage.mixture.sources[task]:
                tasks.setdefault(source, []).append(task)
                first.setdefault(source, number)
    sets, stages = [], list(recipe.stages.values())
    for source, of_source in tasks.items():
        if not has_cut_set(Path(recipe.data_dir), source):
            not_checked[source] = ABSENT
            continue
        try:
            rows = Rows(compile_index(recipe, stages[first[source]], source))
        except DataError as error:
            not_checked[source] = str(error)
            continue
        sets.append(ComparedSet(source, tuple(dict.fromkeys(of_source)), rows))
    return sets, [first[each.source] for each in sets]


def _rows_of_benchmark(recipe: Recipe, source: str, not_checked: dict[str, str]) -> Rows | None:
    data_dir = Path(recipe.data_dir)
    if not has_cut_set(data_dir, source):
        not_checked[source] = ABSENT
        return None
    rules = IndexRules(roots=tuple(recipe.audio_roots))
    try:
        return Rows(compile_source(cut_set_path(data_dir, source), source, rules, cache=cache_of(recipe)))
    except DataError as error:
        not_checked[source] = str(error)
        return None


def _contamination(
    name: str,
    tests: Sequence[ComparedSet],
    number: int,
    training: Sequence[ComparedSet],
    allowed: set[int],
    matches: Matches,
) -> Contamination:
    """Findings of one benchmark.

    Args:
        number: of its set among ``tests``.
        allowed: training sets that count for it.
    """
    test = tests[number]
    clips: dict[int, ContaminatedClip] = {}
    by_kind = (
        ((match.test, match.training, KINDS[0]) for match in matches.audio),
        ((match.test, match.training, KINDS[1]) for match in matches.texts if match.is_equal),
        ((match.test, match.training, KINDS[2]) for match in matches.texts if not match.is_equal),
    )
    for (set_, row), (training_set, training_row), kind in (each for some in by_kind for each in some):
        if set_ == number and training_set in allowed and row not in clips:
            other = training[training_set]
            clips[row] = ContaminatedClip(
                test.rows.cut(row).id, kind, other.rows.cut(training_row).id, other.source
            )
    speakers = matches.test_speakers[number]
    shared = {each: count for each, count in speakers.items() if matches.speakers.get(each, set()) & allowed}
    return Contamination(
        benchmark=name,
        source=test.source,
        num_clips=len(test.rows),
        num_texts=matches.num_texts.get(number, 0),
        clips=list(clips.values()),
        repeated_references=sum(set_ == number and row not in clips for set_, row in matches.repeated),
        speakers=sorted(speaker for _, speaker in shared),
        num_speakers=len(speakers),
        clips_of_shared_speakers=sum(shared.values()),
        num_unread=matches.num_unread.get(number, 0),
    )
