"""Benchmarks from the options of a command line: sources, tasks and prompts, each with each."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from audio_lm.common.errors import RecipeError, UserError, unknown
from audio_lm.common.rng import key_of
from audio_lm.data.examples import Prompt
from audio_lm.evaluation.config import BenchmarkConfig
from audio_lm.metrics.registry import packaged
from audio_lm.prompts.render import PROMPTS
from audio_lm.tasks.registry import CHAT, TASKS, find_task
from audio_lm.tasks.task import Task

MAX_NEW_TOKENS = 256


@dataclass(frozen=True)
class BenchmarkOptions:
    """Sources, tasks and prompts to evaluate; every combination is a benchmark."""

    sources: Sequence[str]
    """Cut-sets, ``corpus/subset-split``."""

    tasks: Sequence[str]
    """Tasks, or ``chat``."""

    metrics: Sequence[str] = ()
    """Metrics; empty takes those of each task."""

    prompts: Sequence[str] = ()
    """Prompt formats; empty takes that of the model's training."""

    question: str | None = None
    """Question in words that replaces those of the tasks."""

    name: str | None = None
    """Name of the benchmark; None gives ``corpus/subset-split/task``, with the prompt where it is not that of the training."""

    max_clips: int | None = None
    """Evaluate only the first clips of each source."""

    max_new_tokens: int = MAX_NEW_TOKENS
    """Maximum length of an answer."""

    def __post_init__(self) -> None:
        """Refuse options that name no benchmark, or one name for several.

        Raises:
            UserError: names the missing option.
        """
        for option, values in (("--source", self.sources), ("--task", self.tasks)):
            if not values:
                raise UserError(
                    f"{option} is missing; name the clips and the task, such as --source fsdd/single-test --task asr"
                )
        for prompt in self.prompts:
            if prompt not in PROMPTS:
                raise RecipeError(unknown("prompt", prompt, PROMPTS, see="audio-lm evaluate --help"))
        count = len(self.sources) * len(self.tasks) * max(1, len(self.prompts))
        if self.name is not None and count > 1:
            raise UserError(
                f"--name {self.name} is one name, and the options give {count} benchmarks; leave it out"
            )

    def benchmarks(
        self, task: str, *, stage: str, prompt: Prompt, tasks: Mapping[str, Task] = TASKS
    ) -> Iterator[tuple[str, BenchmarkConfig]]:
        """Benchmarks of one of the tasks, by name.

        Args:
            prompt: of the model's training.
            tasks: all tasks by name, those of a recipe's own included.

        Raises:
            RecipeError: there is no such task, or it has no metric.
        """
        for source in self.sources:
            for chosen in self.prompts or (prompt,):
                name = self.name or "/".join([source, task, *self._suffixes(chosen, prompt)])
                yield (
                    name,
                    BenchmarkConfig(
                        source=source,
                        task=task,
                        metrics=[*(self.metrics or metrics_of(task, tasks))],
                        prompt=cast("Prompt", chosen),
                        stage=stage,
                        max_clips=self.max_clips,
                        max_new_tokens=self.max_new_tokens,
                        question=self.question,
                    ),
                )

    def _suffixes(self, chosen: str, prompt: str) -> list[str]:
        of_question = [] if self.question is None else [f"question-{key_of(self.question) & 0xFFFFFF:06x}"]
        return ([] if chosen == prompt else [chosen]) + of_question


def metrics_of(task: str, tasks: Mapping[str, Task] = TASKS) -> list[str]:
    """Metrics of a task that are packaged.

    Raises:
        RecipeError: there is no such task, or it has none.
    """
    named = [] if task == CHAT else packaged(find_task(task, tasks).metrics)
    if not named:
        raise RecipeError(
            f"task {task!r} has no metric of its own; name one with --metrics, see audio_lm/metrics/registry.py"
        )
    return named
