"""Prompts of benchmarks, checked before training, and the most frequent answers of the training data."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from lhotse.cut import Cut

from audio_lm.common.errors import DataError, ProgramError, UserError
from audio_lm.common.languages import UNKNOWN_LANGUAGE
from audio_lm.common.rng import key_of
from audio_lm.config.schema import Recipe
from audio_lm.data.audio import decode
from audio_lm.data.audio.fingerprints import states_of
from audio_lm.data.audio.recordings import before_transforms
from audio_lm.data.example import Example
from audio_lm.data.examples import ExampleMaker
from audio_lm.data.manifest.cuts import check_files, recordings_of
from audio_lm.data.manifest.labels import labels_of
from audio_lm.data.manifest.lazy_cuts import Rows
from audio_lm.data.manifest.lhotse_cut import CutFacts
from audio_lm.data.manifest.shar import file_holding
from audio_lm.data.questions import group_by_question
from audio_lm.evaluation.config import BenchmarkConfig
from audio_lm.evaluation.majority import TRAINING_DATA, Majority, majority_of
from audio_lm.evaluation.predict import AudioSpan, EvalExample
from audio_lm.evaluation.prediction_files.rows import lettered_choices
from audio_lm.metrics.registry import find_metric
from audio_lm.pipeline.corpora import usable_source
from audio_lm.pipeline.plan_stage import compile_index, maker_of
from audio_lm.prompts.render import render_chat
from audio_lm.prompts.vocabulary import Vocabulary
from audio_lm.tasks.registry import CHAT, find_task

PROMPT_PACK_TOKENS = 8192  # ours: budget of a pack of prompts when answers are generated
MAX_COUNTED = 100_000  # clips of a source, for the most frequent answer


def check_benchmarks(recipe: Recipe) -> None:
    """Check, before training, that all benchmarks can be scored.

    Raises:
        UserError: a cut-set, or a package that a metric needs, is missing; names the benchmark.
    """
    for name, benchmark in recipe.evaluation.benchmarks.items():
        try:
            cuts = benchmark_cuts(recipe, benchmark)
            check_files(cuts)
            _check_ids(cuts)
            _check_labels(recipe, cuts, benchmark.task)
            label = _language_label(recipe, benchmark.task)
            languages = {_language(cut, label) for cut in cuts}
            for metric in benchmark.metrics:
                find_metric(metric).check(languages)
            reasons = [find_metric(metric).why_missing() for metric in benchmark.metrics]
            if all(reasons):
                raise ProgramError(f"none of its metrics can be computed: {reasons[0]}")
        except UserError as error:
            raise type(error)(f"benchmark {name!r}: {error}") from error


def check_guard_text(recipe: Recipe) -> None:
    """Check, before training, that the text of a guard is here and has conversations.

    Raises:
        UserError: it is not.
    """
    if recipe.guard is not None and recipe.guard.text is not None:
        cuts = usable_source(recipe, recipe.guard.text, "error")[: recipe.guard.max_clips]
        check_files(cuts)
        _check_labels(recipe, cuts, CHAT)


def _check_ids(cuts: Sequence[Cut]) -> None:
    """Check that no id occurs twice: answers are kept and compared by id."""
    if twice := [name for name, count in Counter(cut.id for cut in cuts).items() if count > 1]:
        raise DataError(
            f"cut {twice[0]!r}: {len(twice)} ids occur twice in the cut-set -- expected one cut of each id -- rename or remove "
            f"one"
        )


def _check_labels(recipe: Recipe, cuts: Sequence[Cut], task: str) -> None:
    """Check that every clip has the labels of its question and its reference.

    Raises:
        DataError: one has not; names the cut.
    """
    for cut in cuts:
        labels = labels_of(cut)
        try:
            if task == CHAT:
                render_chat(labels["conversation"])
            else:
                find_task(task, recipe.task_table).check(labels)
        except (DataError, KeyError) as error:
            reason = error if isinstance(error, DataError) else f"task {task!r} needs the label {error}"
            raise DataError(f"cut {cut.id!r}: {reason}") from error


def benchmark_cuts(recipe: Recipe, benchmark: BenchmarkConfig) -> list[Cut]:
    """One checked cut for each question of a benchmark."""
    return [cuts[0] for cuts in benchmark_questions(recipe, benchmark)]


def benchmark_questions(recipe: Recipe, benchmark: BenchmarkConfig) -> list[list[Cut]]:
    """The checked cuts of each question of a benchmark; several if its metrics accept several references.

    Raises:
        DataError: a question has several references, and one of the metrics accepts only one.
    """
    cuts = usable_source(recipe, benchmark.source, "error")
    single = [name for name in benchmark.metrics if not find_metric(name).has_many_references]
    if len(single) == len(benchmark.metrics):
        return [[cut] for cut in cuts][: benchmark.max_clips]
    questions = group_by_question(cuts, benchmark.task, benchmark.prompt, recipe.task_table)[
        : benchmark.max_clips
    ]
    if single and (several := next((cuts for cuts in questions if len(cuts) > 1), None)):
        raise DataError(
            f"cuts {[cut.id for cut in several]} have the same question and clip, and the metrics {single} accept one "
            f"reference; remove these metrics, or define a separate benchmark for them"
        )
    return questions


def benchmark_maker(recipe: Recipe, benchmark: BenchmarkConfig, vocabulary: Vocabulary) -> ExampleMaker:
    """Example maker of a benchmark's prompts, without answers."""
    return maker_of(
        recipe,
        vocabulary,
        benchmark.prompt,
        is_evaluation=True,
        with_answer=False,
        wording=benchmark.question,
    )


def subset_of(questions: Sequence[list[Cut]], count: int) -> list[list[Cut]]:
    """A fixed subset of a benchmark's questions, in their order.

    It depends on the ids of the cuts only: not on their order, which often follows the labels, nor on their number.
    """
    chosen = sorted(range(len(questions)), key=lambda number: key_of("scored", questions[number][0].id))
    return [questions[number] for number in sorted(chosen[:count])]


class QuestionMaker:
    """Maker of the prompts of a benchmark, without answers, and of its questions."""

    def __init__(self, recipe: Recipe, benchmark: BenchmarkConfig, vocabulary: Vocabulary) -> None:
        self.task = benchmark.task
        self.maker = benchmark_maker(recipe, benchmark, vocabulary)
        self._language_label = _language_label(recipe, benchmark.task)

    def example(self, cut: Cut, audio: Cut | None = None) -> Example:
        """Prompt of a question.

        Args:
            audio: whose clips it is put about; None for its own.
        """
        return self.maker.example(cut, self.task, audio=audio)

    def question(self, cuts: Sequence[Cut]) -> EvalExample:
        """Question of one prompt.

        Args:
            cuts: those with the same question about the same clip.
        """
        return EvalExample(
            cut_id=cuts[0].id,
            task=self.task,
            references=tuple(self.maker.reference(same, self.task) for same in cuts),
            language=_language(cuts[0], self._language_label),
            speaker=speaker_of(cuts[0]),
            audio=audio_span(cuts[0]),
            choices=choices_in_question(cuts[0]),
        )


def audio_state(cuts: Iterable[Cut]) -> list[list[int]]:
    """Size and modification time of the audio files of some cuts, in the order of their paths."""
    paths = {
        str(file_holding(str(source.source)))
        for cut in cuts
        if cut.has_recording
        for recording in (cut.recording, *(cut.custom[name] for name in recordings_of(cut)))
        for source in recording.sources
        if source.type in ("file", "shar")
    }
    states: list[list[int]] = states_of(sorted(paths)).tolist()
    return states


def training_majority(recipe: Recipe, benchmark: BenchmarkConfig, vocabulary: Vocabulary) -> Majority | None:
    """Most frequent answer of a benchmark's task in the training data of its stage, or of the last stage before it.

    None if no stage was trained on the task, or its cut-sets are no longer here. Of more than ``MAX_COUNTED`` clips of a
    source, evenly spaced ones are counted.
    """
    names = list(recipe.stages)
    until = names.index(benchmark.stage) + 1 if benchmark.stage in names else 0
    for stage in (recipe.stages[name] for name in reversed(names[:until])):
        sources = stage.mixture.sources.get(benchmark.task, [])
        if sources and stage.mixture.weights.get(benchmark.task, 0) > 0:
            maker = benchmark_maker(recipe, benchmark, vocabulary)
            with suppress(DataError):
                answers = (
                    maker.reference(cut, benchmark.task)
                    for source in sources
                    for cut in _some_facts(Rows(compile_index(recipe, stage, source)))
                )
                return majority_of(answers, TRAINING_DATA)
    return None


def _some_facts(rows: Rows) -> Iterator[CutFacts]:
    for row in range(0, len(rows), -(-len(rows) // MAX_COUNTED)):
        yield rows.facts(row)


def choices_in_question(cut: Cut) -> tuple[str, ...] | None:
    """Choices that the question of a cut lists as lines ``A. text``; None if it lists none."""
    question = labels_of(cut).get("question")
    return tuple(lettered_choices(question)) or None if isinstance(question, str) else None


def audio_span(cut: Cut) -> AudioSpan | None:
    """Place of the audio of a cut; None for a text-only cut and for audio in memory."""
    if not cut.has_recording:
        return None
    (source, *_), recording = cut.recording.sources, cut.recording
    if source.type == "memory" or not isinstance(source.source, str):
        return None
    _, seconds = before_transforms(recording.sampling_rate, recording.duration, recording.transforms)
    if cut.start == 0 and abs(seconds - cut.duration) <= decode.TOLERANCE:
        return AudioSpan(source.source)
    return AudioSpan(source.source, round(cut.start, 4), round(cut.duration, 4))


def speaker_of(cut: Cut) -> str | None:
    """Speaker of a cut; None if it names none or several."""
    speakers = {supervision.speaker for supervision in cut.supervisions} - {None, ""}
    return speakers.pop() if len(speakers) == 1 else None


def _language_label(recipe: Recipe, task: str) -> str:
    """Label with the language of the reference; for a translation, the target language."""
    needs = () if task == CHAT else find_task(task, recipe.task_table).needs
    return "target_language" if "target_language" in needs else "language"


def _language(cut: Cut, label: str) -> str:
    return str(labels_of(cut).get(label, UNKNOWN_LANGUAGE))
