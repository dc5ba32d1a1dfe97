"""Settings of benchmarks, as in ``conf/benchmarks/``."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from audio_lm.common.ranges import Range, Size

UNTRAINED = "untrained"
BASELINES = (UNTRAINED,)
"""Models that can be evaluated in addition to the trained one."""


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
    """Prompt format of the question; use that of the stage."""

    stage: str
    """Stage whose model is evaluated."""

    max_clips: Size | None = None
    """Evaluate only the first ``max_clips`` clips; null evaluates all."""

    max_new_tokens: Annotated[int, Range(1, 100_000)] = 64
    """Maximum length of an answer."""


@dataclass(frozen=True)
class EvaluationConfig:
    """The benchmarks of a recipe."""

    benchmarks: dict[str, BenchmarkConfig] = field(default_factory=dict)
    """Name -> benchmark; the name is printed in tables, such as ``corpus/subset-split``."""

    baselines: list[str] = field(default_factory=list)
    """Models that are evaluated on the same benchmarks: ``untrained``, the model before training."""
