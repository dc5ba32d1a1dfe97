"""Evaluation of what later stages must not forget, after every stage and on the weights that the first one started from."""

from collections.abc import Iterator

from audio_lm.common.env import is_main
from audio_lm.common.packed_batch import PackedBatch
from audio_lm.config.schema import Recipe
from audio_lm.data.collate import Collator
from audio_lm.data.datamodule import packs_of
from audio_lm.data.examples import with_example
from audio_lm.evaluation.config import BASE
from audio_lm.evaluation.guard_table import PERPLEXITY, guard_prefix, perplexity_name
from audio_lm.evaluation.perplexity import perplexity
from audio_lm.evaluation.score import score_key
from audio_lm.model.audio_lm import AudioLM
from audio_lm.pipeline.benchmark_data import PROMPT_PACK_TOKENS
from audio_lm.pipeline.corpora import usable_source
from audio_lm.pipeline.plan_stage import maker_of
from audio_lm.prompts.vocabulary import Vocabulary
from audio_lm.run.evaluator import Evaluator
from audio_lm.tasks.registry import CHAT
from audio_lm.training.distributed import all_gather_object


class GuardEvaluator:
    """Evaluates the guard of a recipe; does nothing without one.

    Args:
        evaluator: of the run, which keeps answers and scores.
    """

    def __init__(self, recipe: Recipe, vocabulary: Vocabulary, evaluator: Evaluator) -> None:
        self.recipe = recipe
        self.vocabulary = vocabulary
        self.evaluator = evaluator

    def evaluate(self, model: AudioLM, name: str) -> None:
        """Evaluate the model of a stage, or the base, unless its answers are kept; a collective of a sharded model.

        Args:
            name: of the stage, or ``base``.
        """
        guard, evaluator = self.recipe.guard, self.evaluator
        if guard is None or not evaluator.takes_part:
            return
        prefix = guard_prefix(name)
        due = [
            each for each in guarded_benchmarks(self.recipe, name) if not evaluator.is_answered(each, prefix)
        ]
        text = guard.text
        is_text_due = text is not None and self._text_key(text, name) not in evaluator.scores
        if evaluator.is_sharded:
            due, is_text_due = all_gather_object((due, is_text_due))[0]  # the first rank keeps the scores
        if not due and not is_text_due:
            return
        texts = [text] if text is not None and is_text_due else []
        evaluator.console.print(f"guard after {name}: evaluating {', '.join([*due, *texts])}")
        for benchmark in due:
            evaluator.evaluate_benchmark(model, benchmark, prefix)
        for source in texts:
            with evaluator.generating():
                value = perplexity(model, self._text_packs(source))
            if is_main():
                evaluator.keep_scores({self._text_key(source, name): value})

    def _text_key(self, source: str, name: str) -> str:
        return score_key(perplexity_name(source), PERPLEXITY, guard_prefix(name))

    def _text_packs(self, source: str) -> Iterator[PackedBatch]:
        assert self.recipe.guard is not None, "there is a guard"
        maker = maker_of(self.recipe, self.vocabulary, "chatml", is_evaluation=True)
        cuts = usable_source(self.recipe, source, "error")[: self.recipe.guard.max_clips]
        examples = [with_example(cut, maker.example(cut, CHAT)) for cut in cuts]
        collate = Collator(num_mels=self.recipe.model.encoder.sizes.num_mels)
        yield from map(collate, packs_of(examples, max_tokens=PROMPT_PACK_TOKENS))


def guarded_benchmarks(recipe: Recipe, name: str) -> list[str]:
    """Benchmarks of the guard that the model of a stage is evaluated on: those of earlier stages; all of them for the base.

    Args:
        name: of the stage, or ``base``.
    """
    if recipe.guard is None:
        return []
    stages = list(recipe.stages)
    later = stages if name == BASE else stages[: stages.index(name)]
    benchmarks = recipe.evaluation.benchmarks
    return [each for each in recipe.guard.benchmarks if benchmarks[each].stage in later]
