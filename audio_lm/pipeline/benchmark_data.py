"""Prompts of benchmarks, checked before training."""

from collections.abc import Iterator

from lhotse.cut import Cut

from audio_lm.common.errors import DataError, UserError
from audio_lm.common.languages import UNKNOWN_LANGUAGE
from audio_lm.common.packed_batch import PackedBatch
from audio_lm.config.schema import Recipe
from audio_lm.data.collate import Collator
from audio_lm.data.datamodule import packs_of
from audio_lm.data.examples import with_example
from audio_lm.data.manifest.cuts import check_files
from audio_lm.data.manifest.labels import labels_of
from audio_lm.data.questions import group_by_question
from audio_lm.evaluation.config import BenchmarkConfig
from audio_lm.evaluation.predict import EvalExample
from audio_lm.metrics.registry import find_metric
from audio_lm.pipeline.corpora import usable_source
from audio_lm.pipeline.plan_stage import maker_of
from audio_lm.prompts.vocabulary import Vocabulary
from audio_lm.tasks.registry import CHAT, find_task

PROMPT_PACK_TOKENS = 8192  # ours: budget of a pack of prompts when answers are generated


def check_benchmarks(recipe: Recipe) -> None:
    """Check, before training, that all benchmarks can be scored.

    Raises:
        UserError: a cut-set, or a package that a metric needs, is missing; names the benchmark.
    """
    for name, benchmark in recipe.evaluation.benchmarks.items():
        try:
            cuts = benchmark_cuts(recipe, benchmark)
            check_files(cuts)
            label = _language_label(recipe, benchmark.task)
            languages = {_language(cut, label) for cut in cuts}
            for metric in benchmark.metrics:
                find_metric(metric).check(languages)
        except UserError as error:
            raise type(error)(f"benchmark {name!r}: {error}") from error


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


def benchmark_packs(
    recipe: Recipe, benchmark: BenchmarkConfig, vocabulary: Vocabulary
) -> Iterator[tuple[PackedBatch, list[EvalExample]]]:
    """Packs of a benchmark's prompts without answers, each with its examples."""
    maker = maker_of(recipe, vocabulary, benchmark.prompt, is_evaluation=True, with_answer=False)
    cuts_of_question = {cuts[0].id: cuts for cuts in benchmark_questions(recipe, benchmark)}
    prompts = [
        with_example(cuts[0], maker.example(cuts[0], benchmark.task)) for cuts in cuts_of_question.values()
    ]
    label = _language_label(recipe, benchmark.task)
    collate = Collator(num_mels=recipe.model.encoder.sizes.num_mels)
    for pack in packs_of(prompts, max_tokens=PROMPT_PACK_TOKENS):
        examples = [
            EvalExample(
                cut_id=cut.id,
                task=benchmark.task,
                references=tuple(maker.reference(same, benchmark.task) for same in cuts_of_question[cut.id]),
                language=_language(cut, label),
            )
            for cut in pack
        ]
        yield collate(pack), examples


def _language_label(recipe: Recipe, task: str) -> str:
    """Label with the language of the reference; for a translation, the target language."""
    needs = () if task == CHAT else find_task(task, recipe.task_table).needs
    return "target_language" if "target_language" in needs else "language"


def _language(cut: Cut, label: str) -> str:
    return str(labels_of(cut).get(label, UNKNOWN_LANGUAGE))
