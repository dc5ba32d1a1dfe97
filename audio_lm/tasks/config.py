"""Settings of a recipe's own tasks."""

from dataclasses import dataclass, field

from audio_lm.common.ranges import OneOrMore

METRIC = "acc"
"""Metric of a task that names none."""


@dataclass(frozen=True)
class OwnTaskConfig:
    """A task of the recipe's own: questions about clips, answered by one of their labels."""

    label: str
    """Label that is the answer: one of ``labels.py``, a column of an imported table, a custom field of a supervision."""

    prompt: OneOrMore
    """Question, or several wordings, of which the last is for evaluation only; `{name}` is replaced by the label `name`."""

    prompt_zh: OneOrMore = field(default_factory=list)
    """Questions in Chinese, drawn for clips in Chinese too."""

    metric: OneOrMore = field(default_factory=lambda: [METRIC])
    """Metrics of the benchmarks of this task that name none; names of ``audio_lm/metrics/registry.py``."""

    tags: str | None = None
    """Tags in the prompt format `tags`; null: those of task `aqa`, with the first wording as the question."""
