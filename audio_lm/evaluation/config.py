"""Settings of benchmarks, as in ``conf/benchmarks/``."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from audio_lm.common.errors import RecipeError, unknown
from audio_lm.common.ranges import Range, Size
from audio_lm.evaluation.choice_lines import CHOICE
from audio_lm.tasks.registry import CHAT

UNTRAINED, MAJORITY, BASE = "untrained", "majority", "base"
BASELINES = (UNTRAINED, MAJORITY, BASE)
"""Answers that can be scored in addition to those of the trained model."""

GUARD = "guard"

SILENCE, SWAPPED, ROTATED = "silence", "swapped", "rotated"
CONTROLS = (SILENCE, SWAPPED, ROTATED)
"""Changed questions that show what a score is worth: without audio, with the audio of another clip, with reordered choices."""


@dataclass(frozen=True)
class BenchmarkConfig:
    """A benchmark: clips, a task and metrics."""

    source: str
    """Cut-set, ``corpus/subset-split``."""

    task: str
    """A task of ``audio_lm/tasks/``, one of the recipe's own, or ``chat``."""

    metrics: list[str]
    """Names from ``audio_lm/metrics/registry.py``."""

    prompt: Literal["tags", "natural", "chatml"]
    """Prompt format of the question; in a recipe that of the stage, unless it is named."""

    stage: str
    """Stage whose model is evaluated."""

    max_clips: Size | None = None
    """Evaluate only the first ``max_clips`` clips; null evaluates all."""

    max_new_tokens: Annotated[int, Range(1, 100_000)] = 64
    """Maximum length of an answer."""

    ordered_stamps: bool = False
    """Generate only time stamps that increase, for tasks with word time stamps."""

    controls: list[str] = field(default_factory=list)
    """The benchmark is evaluated again with changed questions: ``silence`` of the same length, the audio of another clip of the
    same set (``swapped``), choices in another order (``rotated``)."""

    closed: bool = False
    """Choose among the allowed answers by their probability, without generating; for labels."""

    allowed: list[str] = field(default_factory=list)
    """Allowed answers of a closed benchmark; empty takes all reference answers of its clips."""

    question: str | None = None
    """Question in words that replaces those of the task, for the prompts natural and chatml; labels in braces are filled in."""

    def __post_init__(self) -> None:
        """Refuse a question that the prompt format has no place for, unknown controls, and allowed answers without effect.

        Raises:
            RecipeError: names the value.
        """
        self._check_stamps()
        for control in self.controls:
            if control not in CONTROLS:
                raise RecipeError(unknown("control", control, CONTROLS, see="docs/evaluation.md"))
        if len(set(self.controls)) < len(self.controls):
            raise RecipeError(f"controls {self.controls} names one twice; remove it")
        if self.allowed and not self.closed:
            raise RecipeError(
                f"allowed {self.allowed[:3]} has no effect on generated answers; set closed: true, or remove it"
            )
        if ROTATED in self.controls and (moved := [text for text in self.allowed if CHOICE.fullmatch(text)]):
            raise RecipeError(
                f"allowed {moved[:3]} are choices with their letters, which controls: [rotated] moves -- expected the choices "
                f"of each question, or letters alone -- leave allowed out"
            )
        if self.question is None:
            return
        if self.prompt == "tags" or self.task == CHAT:
            reason = "tags are not words" if self.prompt == "tags" else "a chat has its own questions"
            raise RecipeError(
                f"question {self.question[:60]!r} has no effect, because {reason}; leave it out, or set prompt: natural "
                f"and a task"
            )

    def _check_stamps(self) -> None:
        if self.ordered_stamps and self.prompt != "tags":
            raise RecipeError(
                f"ordered_stamps has no effect with prompt: {self.prompt}, whose times are plain text -- expected "
                f"prompt: tags; leave it out"
            )
        if self.ordered_stamps and self.closed:
            raise RecipeError(
                "ordered_stamps has no effect with closed: true, which generates nothing -- expected one of them -- remove the "
                "other"
            )


@dataclass(frozen=True)
class EvaluationConfig:
    """The benchmarks of a recipe."""

    benchmarks: dict[str, BenchmarkConfig] = field(default_factory=dict)
    """Name -> benchmark; the name is printed in tables, such as ``corpus/subset-split``."""

    baselines: list[str] = field(default_factory=list)
    """Scored on the same benchmarks: ``untrained``, the model before training; ``base``, the model that a benchmark's stage
    starts from; ``majority``, always the most frequent answer of the training data, for benchmarks of labels."""


@dataclass(frozen=True)
class GuardConfig:
    """Benchmarks and a text that later stages must not forget."""

    benchmarks: list[str] = field(default_factory=list)
    """Benchmarks of earlier stages, which are evaluated again after every later stage."""

    text: str | None = None
    """Cut-set of conversations, such as text-only ones, whose perplexity is measured after every stage."""

    max_clips: Size | None = 200
    """Conversations of ``text`` that are measured; null for all."""

    def __post_init__(self) -> None:
        """Refuse a guard of nothing.

        Raises:
            RecipeError: neither benchmarks nor a text are named.
        """
        if not self.benchmarks and self.text is None:
            raise RecipeError(
                "guard names neither benchmarks nor a text -- expected some of evaluation.benchmarks, or a cut-set -- name "
                "them, or remove the table"
            )
