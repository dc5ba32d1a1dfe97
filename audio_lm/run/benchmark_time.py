"""Time of a recipe's evaluations, from the speed of one benchmark and the sizes of all: baselines, controls, guard."""

from collections.abc import Iterable, Sequence

from audio_lm.common.audio_units import Seconds
from audio_lm.config.schema import Recipe
from audio_lm.evaluation.config import BASE, UNTRAINED, BenchmarkConfig
from audio_lm.model.config import ModelConfig
from audio_lm.run.guard import guarded_benchmarks
from audio_lm.run.prepare import Prepared
from audio_lm.run.speed import AnswerSpeed, BenchmarkSize, measure_answers, size_of_benchmark


class BenchmarkTimes:
    """Times of the evaluations of a recipe on this machine.

    The untrained model seldom ends an answer before its limit, so its answers count with all their tokens.
    """

    def __init__(self, recipe: Recipe, prepared: Prepared) -> None:
        self.recipe = recipe
        self.all: dict[str, BenchmarkConfig] = recipe.evaluation.benchmarks
        self.sizes: dict[str, BenchmarkSize] = {
            name: size_of_benchmark(recipe, benchmark, prepared.vocabulary)
            for name, benchmark in self.all.items()
        }
        self.speed = AnswerSpeed(0.0, 0.0)
        if self.all:
            longest = max(self.all.values(), key=lambda benchmark: benchmark.max_new_tokens)
            self.speed = measure_answers(recipe, longest, prepared.model, prepared.vocabulary)

    def after_stage(self, stage: str) -> Seconds:
        """Evaluations after a stage: its benchmarks with their controls, and the guard."""
        controls = [name for name in self._of(stage) for _ in self.all[name].controls]
        return self._answers([*self._of(stage), *controls, *guarded_benchmarks(self.recipe, stage)])

    def before_stage(self, stage: str, *, is_first: bool) -> Seconds:
        """Evaluations of the model that a stage starts from: the baseline, and the guard of the first stage.

        Args:
            is_first: of this start of the run.
        """
        names = self._of(stage) if BASE in self.recipe.evaluation.baselines else []
        guard = guarded_benchmarks(self.recipe, BASE) if is_first else []
        is_untrained = stage == next(iter(self.recipe.stages)) and not _loads(self.recipe.model)
        return self._answers([*names, *guard], is_untrained=is_untrained)

    def during_stage(self, stage: str) -> Seconds:
        """Scores during the training of a stage, once: some clips of each of its benchmarks."""
        config = self.recipe.stages[stage]
        if not config.score_every:
            return 0.0
        return sum(self._answer(name, max_clips=config.score_clips) for name in self._of(stage))

    def untrained(self, stages: Sequence[str]) -> Seconds:
        """Evaluation of the untrained model, where the recipe compares with it."""
        if UNTRAINED not in self.recipe.evaluation.baselines:
            return 0.0
        return self._answers((name for stage in stages for name in self._of(stage)), is_untrained=True)

    def _of(self, stage: str) -> list[str]:
        return [name for name, benchmark in self.all.items() if benchmark.stage == stage]

    def _answers(self, names: Iterable[str], *, is_untrained: bool = False) -> Seconds:
        return sum(self._answer(name, is_untrained=is_untrained) for name in names)

    def _answer(self, name: str, *, is_untrained: bool = False, max_clips: int | None = None) -> Seconds:
        size = self.sizes[name]
        new_tokens = self.all[name].max_new_tokens if is_untrained else None
        seconds = size.seconds(self.speed, new_tokens=new_tokens)
        return seconds if max_clips is None else seconds * min(1.0, max_clips / size.num_questions)


def _loads(model: ModelConfig) -> bool:
    """True if a part of the model has trained weights from the start."""
    return any((model.load, model.encoder.load, model.language_model.load))
