"""What a model is judged on, as it stands in ``conf/benchmarks/``."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from audio_lm.common.ranges import Range, Size

UNTRAINED = "untrained"
BASELINES = (UNTRAINED,)
"""Models that can be evaluated beside the trained one."""


@dataclass(frozen=True)
class BenchmarkConfig:
    """Clips, a task, a metric."""

    source: str
    """A cut-set, ``corpus/subset-split``."""

    task: str
    """One of the 31 tasks, or ``chat``."""

    metrics: list[str]
    """Names from ``audio_lm/metrics/registry.py``."""

    prompt: Literal["tags", "natural", "chatml"]
    """The language the question is put in; that of the stage under test."""

    stage: str
    """The stage whose model answers."""

    max_clips: Size | None = None
    """Only the first so many clips."""

    max_new_tokens: Annotated[int, Range(1, 100_000)] = 64
    """Longest answer."""


@dataclass(frozen=True)
class EvaluationConfig:
    """The benchmarks of a recipe."""

    benchmarks: dict[str, BenchmarkConfig] = field(default_factory=dict)
    """Name -> benchmark; the name is ``corpus/subset-split`` or what a table would print."""

    baselines: list[str] = field(default_factory=list)
    """Models that answer the same questions: ``untrained``, which has learned nothing."""
